"""Forty means forty, and mass mail is noticed: the limits on what one sender sends (seed 004, facts 7).

What must always hold: pure; a text sent to many is counted whatever the messages, sessions or days of the window it
was split over; what only looks like mass mail is put before the regulator, never refused.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator's settings say. Applicative mailboxes (APP), made for many sendings, have their own."""

    same_text: int = 40
    same_text_app: int = 1000
    same_text_hours: int = 24
    novel: int = 100
    novel_app: int = 5000
    novel_factor: int = 5
    past_days: int = 30

    @property
    def window_us(self) -> int:
        return self.same_text_hours * 3_600_000_000

    def most(self, *, bulk: bool) -> int:
        """To how many distinct recipients one text may go within the window."""
        return self.same_text_app if bulk else self.same_text

    def least_novel(self, *, bulk: bool) -> int:
        """How many recipients never written to before a day are worth a look at the mailbox's past."""
        return self.novel_app if bulk else self.novel

    def is_mass(self, novel: int, past_novel: int, past_days: int, *, bulk: bool) -> bool:
        """``envoi-en-nombre``. Whether a day with ``novel`` new recipients is unlike the ``past_days`` days on which
        the mailbox sent, with ``past_novel`` of them together. Source: seed 004 (unsolicited mail is forbidden)."""
        return novel >= self.least_novel(bulk=bulk) and novel * max(past_days, 1) > self.novel_factor * past_novel
