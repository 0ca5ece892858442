"""One message between 354 and its answer: the octets of `Body` handed to the `Arrival` that keeps them.

What must always hold:
- The stream is followed to the true end of the message whatever is refused on the way, so that what follows is read as
  commands only when it is commands.
- Nothing faulty reaches `Arrival.finish`; an arrival is either finished or aborted, once.
- Which answer is given does not depend on how the octets were cut: what `Body` finds outranks what `Arrival` says.
"""

from __future__ import annotations

import structlog

from mssante.domain.verdict import Defer, Refuse, Rule
from mssante.services.arrival import Arrival, ArrivalRefused, Stored
from smtp_in.body import Body, Chunks
from smtp_in.pace import Pace

_log = structlog.get_logger("smtp_in")


class Incoming:
    """Fed with the stream after DATA, or with chunks; `finish` once it is whole, `abort` if it never is. ``most``: the
    octets after which a refused message is not worth following any more."""

    def __init__(self, arrival: Arrival, body: Body | Chunks, pace: Pace, most: int) -> None:
        self._arrival: Arrival | None = arrival
        self._body, self._most = body, most
        self.pace = pace
        self._refused: Refuse | Defer | None = None

    @property
    def size(self) -> int:
        """Octets of the message so far."""
        return self._body.size

    @property
    def rest(self) -> bytes | None:
        """What follows the message in the stream; None until its end has come. Chunks tell their own lengths."""
        return self._body.rest

    @property
    def refusal(self) -> Refuse | Defer | None:
        """What is known so far to be wrong with it."""
        return Refuse(self._body.fault) if self._body.fault is not None else self._refused

    @property
    def hopeless(self) -> bool:
        """Refused long ago, and still coming: looking for its end is worth no more."""
        return self._body.size > self._most

    def feed(self, data: bytes) -> None:
        """More of the stream. Not to be called once `rest` is there."""
        self._pass_on(self._body.feed(data))

    def _pass_on(self, content: bytes) -> None:
        if self._arrival is None:
            return
        if self._body.fault is not None:
            self.abort()
        elif content:
            try:
                self._arrival.feed(content)
            except ArrivalRefused as refusal:
                self._refuse(refusal.verdict)
            except Exception:  # noqa: BLE001  # whatever it is, the stream must be followed to the message's end
                _log.exception("smtp_in.fault", stage="DATA")
                self._refuse(Defer(Rule.INTERNAL_FAULT))

    async def finish(self) -> Stored | Refuse | Defer:
        """The outcome of the whole message. `Stored` means that it is on stable storage."""
        self._pass_on(self._body.end())
        refusal = self.refusal
        if refusal is not None:
            return refusal
        arrival, self._arrival = self._arrival, None
        assert arrival is not None, "finish comes once, before any abort"
        return await arrival.finish()

    def abort(self) -> None:
        """Keeps nothing. Harmless when there is nothing to keep."""
        arrival, self._arrival = self._arrival, None
        if arrival is not None:
            arrival.abort()

    def _refuse(self, verdict: Refuse | Defer) -> None:
        self._refused = verdict
        self.abort()
