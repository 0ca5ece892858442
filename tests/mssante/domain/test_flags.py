"""Flag bits are stored and named."""

from mssante.domain import flags


def test_stored_values_never_change() -> None:
    assert (flags.SEEN, flags.ANSWERED, flags.FLAGGED, flags.DELETED, flags.DRAFT) == (1, 2, 4, 8, 16)


def test_every_bit_has_its_name() -> None:
    assert sum(flags.NAMES) == flags.ALL
    assert flags.NAMES[flags.SEEN] == "\\Seen"
    assert all(name.startswith("\\") for name in flags.NAMES.values())
