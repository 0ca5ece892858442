"""News of commits: who asked to hear of a folder, a bal, the queue, is called on the loop after the commit.

Always true here: a hint may be lost or come twice; whoever gets one reads the store again, unless the hint brings all
that changed (`News`) and that follows what he knows. Hints of a rolled-back write are never given.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

Callback = Callable[[Any], None]


class Hint(NamedTuple):
    """`news`: what changed, whole, so that hearers in this process need not read it; None: read. It does not travel to
    other processes."""

    kind: str
    key: str
    news: object = None


class Hints:
    """Kinds: "folder" (folder id), "folders" (bal id: names, subscriptions, notes), "bal" (bal id), "accounts",
    "queue", "exchange". Used on the loop only."""

    def __init__(self, first: Callable[[], None] = lambda: None) -> None:
        self._first = first
        self._callbacks: dict[tuple[str, str | None], list[Callback]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop of the subscribers; None while nobody listens."""
        return self._loop if self._callbacks else None

    def subscribe(self, kind: str, key: object, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls `callback()` on this loop after each commit that hinted (kind, key); with key None after any of the
        kind. The answer ends the subscription; calling it twice is harmless."""
        return self.follow(kind, key, lambda _: callback())

    def follow(self, kind: str, key: object, callback: Callback) -> Callable[[], None]:
        """`subscribe` for who wants the hint's news: `callback(news)`."""
        self._loop = asyncio.get_running_loop()
        place = (kind, None if key is None else str(key))
        self._callbacks.setdefault(place, []).append(callback)
        self._first()

        def unsubscribe() -> None:
            callbacks = self._callbacks.get(place, [])
            if callback in callbacks:
                callbacks.remove(callback)
                if not callbacks:
                    del self._callbacks[place]

        return unsubscribe

    def fire(self, hints: Iterable[Hint] | None) -> None:
        """Calls the subscribers, on their loop; all of them for None, when hints may have been missed. One that fails
        does not keep the others from hearing."""
        if hints is None:
            for place in tuple(self._callbacks):
                self._call(place, None)
        else:
            for kind, key, news in _once(hints):
                self._call((kind, key), news)
                self._call((kind, None), news)

    def _call(self, place: tuple[str, str | None], news: object) -> None:
        for callback in tuple(self._callbacks.get(place, ())):
            try:
                callback(news)
            except Exception as error:  # noqa: BLE001 - told to the loop, as it does for its own callbacks
                told = {"message": f"a subscriber to {place[0]} hints failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(told)


def _once(hints: Iterable[Hint]) -> Iterator[Hint]:
    """A commit's hints, each that says no more than "read again" once."""
    said = set[tuple[str, str]]()
    for hint in hints:
        if hint.news is not None:
            yield hint
        elif (place := (hint.kind, hint.key)) not in said:
            said.add(place)
            yield hint
