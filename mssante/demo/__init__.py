"""The whole story on one machine, played by real clients against real servers (`make demo`)."""
