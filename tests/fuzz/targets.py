"""What strangers' octets are given to, guided by coverage: ``python -m tests.fuzz.targets NAME [atheris options]``.

Each target holds what must hold for every input; anything else that is raised is a finding. ``-runs=N -seed=N`` bound
and repeat a run; without ``-runs`` it goes on until it finds something.
"""

import sys
from collections.abc import Callable

import atheris

with atheris.instrument_imports(include=["imap", "mssante.mime"]):
    from imap.framer import BEFORE_LOGIN, Command, Event, Fault, Framer, MessageData, MessageEnd
    from imap.lexer import Refused, SyntaxFault
    from mssante.mime.card import Card
    from mssante.mime.headers import header_facts
    from mssante.mime.scanner import HeaderTooLarge, Scanner
    from mssante.mime.xdm import documents
    from tests.imap.reading import read


def _events(pieces: list[bytes]) -> list[Event]:
    """Message data joined, as its cuts are not the input's."""
    framer, events = Framer(BEFORE_LOGIN), list[Event]()
    for piece in pieces:
        framer.feed(piece)
        while (event := framer.next_event()) is not None:
            if isinstance(event, MessageData) and events and isinstance(events[-1], MessageData):
                events[-1] = MessageData(events[-1].data + event.data)
            else:
                events.append(event)
    return events


def framer(data: bytes) -> None:
    """However the octets are cut, the events are the same."""
    provider = atheris.FuzzedDataProvider(data)
    cut = provider.ConsumeIntInRange(0, 64)
    octets = provider.ConsumeBytes(len(data))
    whole = _events([octets])
    assert _events([octets[:cut], octets[cut:]]) == whole
    assert _events([octets[at : at + 1] for at in range(len(octets))]) == whole


def grammar(data: bytes) -> None:
    """A command is read, or refused in words."""
    for event in _events([data, b"\r\n"]):
        if isinstance(event, Command | MessageEnd):
            command = event if isinstance(event, Command) else event.tail
            for utf8 in (False, True):
                try:
                    read(command, utf8=utf8)
                except (SyntaxFault, Refused):
                    continue
        else:
            assert not isinstance(event, Fault) or event.text


def mime(data: bytes) -> None:
    """Whatever a message holds, its parts lie within it, and its card is the same however it was cut."""
    cards = []
    for size in (len(data) or 1, 7):
        scanner = Scanner()
        try:
            for start in range(0, len(data), size):
                scanner.feed(data[start : start + size])
            card = scanner.finish()
        except HeaderTooLarge:
            return
        assert 0 <= card.header_length <= card.size == len(data)
        cards.append(card.encode())
    assert cards[0] == cards[1]
    assert Card.decode(cards[0]).encode() == cards[0]
    header_facts(data)


def guard(data: bytes) -> None:
    """Whatever a message carries, its documents name their patients, or it is said why they do not."""
    scanner = Scanner()
    try:
        scanner.feed(data)
        card = scanner.finish()
    except HeaderTooLarge:
        return
    for document in documents(lambda start, length: data[start : start + length], card):
        assert document.shown.isascii()
        assert document.fault is None or document.fault.shown.isascii()


TARGETS: dict[str, Callable[[bytes], None]] = {"framer": framer, "grammar": grammar, "guard": guard, "mime": mime}

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
