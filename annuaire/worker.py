"""The process that reads a source: ``python -m annuaire.worker``. What it does slows no mail, as it is not there.

What must always hold:
- It gets one `Job` on stdin and writes frames on stdout, each four octets of length and a msgpack value: `Batch`es,
  then one `End`, or one `Refused`. A pipe that ends before one of those two was cut: nothing of it may be believed.
- Of a whole reading only what the copy does not have yet is sent, and at the end the digests of what has vanished.
- A source that breaks off is read again from its beginning after a pause; what was sent is not sent twice.
"""

import os
import struct
import sys
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec

from annuaire.source import Extraction, Fhir, Ldap, Reading, SourceError, Spec, Unchanged, digested, line_of
from annuaire.words import SHORTEST_CORRECTED
from mssante.domain.annuaire import Fault, Line

BATCH = 500
"""Lines of one batch: they are written in one transaction, for which mail may have to wait."""
FAULTS = 100
"""Faults that are told; the others are counted."""
PAUSES_S = (1.0, 5.0, 20.0)
"""Before the source is read again."""


class Job(msgspec.Struct, frozen=True, array_like=True):
    """``known``: the digests of the copy, sorted, as 64-bit integers of this machine. ``pauses_s``: see `PAUSES_S`."""

    spec: Spec
    since: str
    known: bytes
    pauses_s: tuple[float, ...] = PAUSES_S


class Batch(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """``replaced``: origins whose earlier lines go, but for those sent here (readings of changes only). ``mots``: words
    of these lines that no earlier batch had, to complete and to correct what people type."""

    lines: list[Line]
    replaced: list[str]
    mots: list[str]


class End(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """``whole``: see `Reading`. ``read``: fiches read. ``vanished``: digests that a whole reading did not see."""

    whole: bool
    changed: bool
    cursor: str
    read: int
    vanished: bytes
    faults: list[Fault]
    faulty: int


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Nothing of this reading counts."""

    text: str
    again: bool


Frame = Batch | End | Refused


def main() -> int:
    """One job."""
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job)
    out = sys.stdout.buffer
    try:
        for frame in frames(job, opened(job.spec)):
            send(out, frame)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # who asked has gone: there is nobody to tell
        return 1
    except SourceError as error:  # the source's own settings
        send(out, Refused(str(error), error.again))
    return 0


def send(out: BinaryIO, frame: Frame) -> None:
    """Writes one frame."""
    octets = msgspec.msgpack.encode(frame)
    out.write(struct.pack(">I", len(octets)) + octets)
    out.flush()


def opened(spec: Spec) -> Reading:
    """The reading of a source, by what it is; libraries are loaded for the one that needs them."""
    match spec:
        case Extraction():
            from annuaire.extraction import ExtractionReading

            return ExtractionReading(spec)
        case Ldap():
            from annuaire.ldap_source import LdapReading

            return LdapReading(spec)
        case Fhir():
            from annuaire.fhir import FhirReading

            return FhirReading(spec)


def frames(job: Job, source: Reading, sleep: Callable[[float], None] = time.sleep) -> Iterator[Frame]:
    """All frames of one job."""
    sent: set[int] = set()
    mots: set[str] = set()
    for pause in (*job.pauses_s, None):
        try:
            yield from _one_reading(job, source, sent, mots)
            return
        except Unchanged:
            yield End(True, False, job.since, 0, b"", [], 0)
            return
        except SourceError as error:
            if pause is None or not error.again:
                yield Refused(str(error), error.again)
                return
            sleep(pause)


def _one_reading(job: Job, source: Reading, earlier: set[int], mots: set[str]) -> Iterator[Frame]:
    """``earlier``: digests that attempts which broke off have sent; this one adds its own if it does."""
    known = array("q", job.known)
    seen = bytearray(len(known))
    read = faulty = 0
    faults: list[Fault] = []
    lines: dict[int, Line] = {}
    replaced: list[str] = []
    sent: set[int] = set()

    def batch() -> Batch:
        new = {word for line in lines.values() for word in line.words.split() if word.isalpha()} - mots
        mots.update(new)
        sent.update(lines)
        return Batch(list(lines.values()), replaced, [word for word in new if len(word) >= SHORTEST_CORRECTED])

    try:
        for entry in source.read(job.since):
            if isinstance(entry, Fault):
                faulty += 1
                faults += [entry] if len(faults) < FAULTS else []
                continue
            if not source.whole:
                replaced.append(entry.origin)
            for fiche in entry.fiches:
                digest, record = digested(entry.origin, fiche)
                place = bisect_left(known, digest)
                is_known = place < len(known) and known[place] == digest
                if digest in lines or digest in sent or (is_known and seen[place]):
                    faulty += 1
                    faults += [Fault(str(fiche.address), "the same line twice")] if len(faults) < FAULTS else []
                    continue
                read += 1
                if is_known:
                    seen[place] = 1
                if not source.whole or not (is_known or digest in earlier):
                    lines[digest] = line_of(entry.origin, fiche, digest, record)
                elif not is_known:
                    sent.add(digest)
            if len(lines) + len(replaced) >= BATCH:
                yield batch()
                lines, replaced = {}, []
        if lines or replaced:
            yield batch()
    except SourceError:
        earlier |= sent
        raise
    vanished = array("q")
    if source.whole:
        vanished.extend(digest for digest, was in zip(known, seen, strict=True) if not was)
        vanished.extend(earlier - sent)  # not there any more
    yield End(source.whole, True, source.cursor, read, vanished.tobytes(), faults, faulty)


if __name__ == "__main__":
    sys.exit(main())
