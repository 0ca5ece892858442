"""News of commits: who asked to hear of a folder, a bal, the queue, is called on the loop after the commit.

Always true here: a hint carries no authority and may be lost or come twice; whoever gets one reads the store again.
Hints of a rolled-back write are never given.
"""

import asyncio
from collections.abc import Callable, Iterable

Hint = tuple[str, str]
Callback = Callable[[], None]


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

    def subscribe(self, kind: str, key: object, callback: Callback) -> Callable[[], None]:
        """Calls `callback()` on this loop after each commit that hinted (kind, key); with key None after any of the
        kind. The answer ends the subscription; calling it twice is harmless."""
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
            self._call(tuple(self._callbacks))
        else:
            self._call([place for kind, key in hints for place in ((kind, key), (kind, None))])

    def _call(self, places: Iterable[tuple[str, str | None]]) -> None:
        for place in places:
            for callback in tuple(self._callbacks.get(place, ())):
                try:
                    callback()
                except Exception as error:  # noqa: BLE001 - told to the loop, as it does for its own callbacks
                    told = {"message": f"a subscriber to {place[0]} hints failed", "exception": error}
                    asyncio.get_running_loop().call_exception_handler(told)
