"""The reading process without its process: frames from a source that a test plays."""

import io
from array import array
from collections.abc import Iterator

from annuaire.extraction import read_extraction
from annuaire.fiche import Fiche
from annuaire.source import Entry, SourceError, Spec, Unchanged, digested
from annuaire.source import Extraction as ExtractionSpec
from annuaire.worker import Batch, End, Frame, Job, Refused, frames
from mssante.domain.annuaire import Fault
from tests.annuaire.fictive import LINES

SPEC: Spec = ExtractionSpec(path="unused")
FICHES = tuple(read_extraction(io.BytesIO("\n".join(LINES).encode())))


class Played:
    """A source that gives these readings one after the other; an exception in a reading breaks it off there."""

    name = "played"
    cursor = "after"

    def __init__(self, *readings: list[Entry | Fault | Exception], whole: bool = True) -> None:
        self._readings, self.whole = iter(readings), whole

    def read(self, since: str) -> Iterator[Entry | Fault]:
        for said in next(self._readings):
            if isinstance(said, Exception):
                raise said
            yield said


def entry(fiche: Fiche, origin: str = "here") -> Entry:
    return Entry(origin, (fiche,))


def digests(*fiches: Fiche) -> list[int]:
    return sorted(digested("here", fiche)[0] for fiche in fiches)


def told(
    source: Played, known: list[int] | None = None, pauses: tuple[float, ...] = ()
) -> tuple[list[Frame], list[float]]:
    slept: list[float] = []
    job = Job(SPEC, "", array("q", known or []).tobytes(), pauses)
    return list(frames(job, source, slept.append)), slept


def test_only_what_is_new_is_sent_and_what_is_gone_is_named() -> None:
    one, two, three = FICHES
    (batch, end), _ = told(Played([entry(one), entry(three)]), digests(one, two))
    assert isinstance(batch, Batch)
    assert [line.digest for line in batch.lines] == digests(three)
    assert isinstance(end, End)
    assert (end.read, array("q", end.vanished).tolist(), end.cursor) == (2, digests(two), "after")


def test_the_same_line_twice_is_kept_once_and_told() -> None:
    (batch, end), _ = told(Played([entry(FICHES[0]), entry(FICHES[0])]))
    assert isinstance(batch, Batch) and isinstance(end, End)
    assert len(batch.lines) == 1
    assert [fault.problem for fault in end.faults] == ["the same line twice"]


def test_a_cut_reading_is_begun_again_and_nothing_is_sent_twice() -> None:
    cut = SourceError("cut", again=True)
    source = Played([entry(FICHES[0]), cut], [entry(FICHES[0]), cut], [entry(FICHES[0]), entry(FICHES[1])])
    said, slept = told(source, pauses=(1.0, 5.0))
    assert slept == [1.0, 5.0]
    assert isinstance(said[-1], End)
    assert said[-1].read == 2
    sent = [line.digest for frame in said if isinstance(frame, Batch) for line in frame.lines]
    assert sorted(sent) == digests(FICHES[0], FICHES[1])


def test_what_a_cut_reading_sent_and_the_next_one_lacks_has_vanished() -> None:
    many = [entry(FICHES[0], f"o{number}") for number in range(300)]
    said, _ = told(Played([*many, SourceError("cut", again=True)], [entry(FICHES[1])]), pauses=(0.0,))
    sent = {line.digest for frame in said if isinstance(frame, Batch) for line in frame.lines}
    assert isinstance(said[-1], End)
    gone = set(array("q", said[-1].vanished))
    assert sent - gone == set(digests(FICHES[1]))


def test_a_source_that_stays_away_is_refused() -> None:
    said, slept = told(Played([SourceError("away", again=True)], [SourceError("away", again=True)]), pauses=(1.0,))
    assert said == [Refused("away", True)]
    assert slept == [1.0]


def test_a_source_that_refuses_is_not_asked_again() -> None:
    said, slept = told(Played([SourceError("wrong base")]), pauses=(1.0,))
    assert said == [Refused("wrong base", False)]
    assert slept == []


def test_nothing_new_at_the_source_changes_nothing() -> None:
    (end,), _ = told(Played([Unchanged()]), digests(*FICHES))
    assert isinstance(end, End)
    assert (end.changed, end.vanished) == (False, b"")


def test_changes_name_the_origins_that_they_replace() -> None:
    source = Played([entry(FICHES[0], "dn1"), Entry("dn2", ())], whole=False)
    (batch, end), _ = told(source, digests(*FICHES))
    assert isinstance(batch, Batch) and isinstance(end, End)
    assert batch.replaced == ["dn1", "dn2"]
    assert end.vanished == b""


def test_faults_beyond_a_hundred_are_counted() -> None:
    (end,), _ = told(Played([Fault(f"line {number}", "bad") for number in range(150)]))
    assert isinstance(end, End)
    assert (len(end.faults), end.faulty) == (100, 150)
