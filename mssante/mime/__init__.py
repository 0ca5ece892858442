"""Streaming readers of message structure, builders of notices, DKIM."""
