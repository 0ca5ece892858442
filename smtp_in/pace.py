"""How fast a message must come: what a slow sender may hold open, and for how long.

What must always hold: pure; the time allowed grows with what has come, up to a whole that no message exceeds.
"""

from __future__ import annotations

from smtp_in.settings import SmtpInSettings


class Pace:
    """One message that begins at ``now`` (seconds of the loop's clock)."""

    def __init__(self, settings: SmtpInSettings, now: float) -> None:
        self._started, self._settings = now, settings

    def deadline(self, octets: int) -> float:
        """Until when more must come once ``octets`` have, at `min_rate` after the grace."""
        settings = self._settings
        return self._started + min(settings.data_total_s, settings.data_grace_s + octets / settings.min_rate)
