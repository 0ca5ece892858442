"""Message bytes in segments: what is written comes back, what was touched does not."""

import errno
import fcntl
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssante.store.contents import CHUNK, HEADER, OWN, SHARED, SMALL, ContentRef, Contents, PendingContent, stored_bytes
from mssante.store.errors import ContentError, StoreError, StoreFull
from mssante.store.keys import Keys
from tests.mssante.store.made import MASTER_KEY

EDGES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, SMALL - 1, SMALL, SMALL + 1, SMALL + CHUNK, SMALL + CHUNK + 1]


@pytest.fixture
def contents(tmp_path: Path) -> Iterator[Contents]:
    contents = uncached(tmp_path / "contents")
    yield contents
    contents.close()


def uncached(root: Path, **options: int) -> Contents:
    return Contents(root, Keys(MASTER_KEY), cache_bytes=0, **options)


def written(contents: Contents, *pieces: bytes) -> PendingContent:
    writer = contents.begin()
    for piece in pieces:
        writer.write(piece)
    return writer.finish()


def settled(contents: Contents, *pieces: bytes) -> ContentRef:
    pending = written(contents, *pieces)
    pending.sync()
    contents.settle([pending])
    pending.release()
    return pending.ref


@pytest.mark.parametrize("length", EDGES)
def test_every_length_comes_back_whole_and_in_part(contents: Contents, length: int) -> None:
    body = os.urandom(length)
    ref = settled(contents, body)
    assert ref.length == length
    assert contents.read(ref) == body
    for start, size in ((0, 10), (CHUNK - 5, 10), (length // 2, length), (max(0, length - 3), 100), (length, 5)):
        assert contents.read(ref, start, size) == body[start : start + size]


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 3 * CHUNK), max_size=6),
    start=st.integers(0, 4 * CHUNK),
    size=st.integers(0, 4 * CHUNK),
    seed=st.binary(min_size=1, max_size=64),
)
def test_how_it_arrives_and_is_read_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], start: int, size: int, seed: bytes
) -> None:
    body = (seed * (sum(cuts) // len(seed) + 1))[: sum(cuts)]
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(body[at : at + cut])
        at += cut
    root = tmp_path_factory.mktemp("contents")
    contents = uncached(root)
    try:
        ref = settled(contents, *pieces)
        assert contents.read(ref, start, size) == body[start : start + size]
        assert contents.read(ref) == body
    finally:
        contents.close()
        shutil.rmtree(root)


def test_small_contents_share_a_segment_and_large_ones_have_their_own(contents: Contents) -> None:
    small = [settled(contents, b"a"), settled(contents, b"b" * SMALL)]
    large = settled(contents, b"c" * (SMALL + 1))
    assert {ref.segment[0] for ref in small} == {SHARED}
    assert small[0].segment == small[1].segment
    assert small[1].offset == stored_bytes(1)
    assert large.segment.startswith(OWN)
    assert contents.path(large.segment).stat().st_size == stored_bytes(large.length)


def test_nothing_is_stored_in_clear(contents: Contents) -> None:
    ref = settled(contents, b"Compte rendu d'hospitalisation " * 20_000)
    raw = contents.path(ref.segment).read_bytes()
    assert b"hospitalisation" not in raw


@pytest.mark.parametrize("where", [HEADER, HEADER + CHUNK, HEADER + CHUNK + 16, -1])
def test_a_changed_byte_is_found(contents: Contents, where: int) -> None:
    ref = settled(contents, b"x" * (2 * CHUNK + 10))
    path = contents.path(ref.segment)
    raw = bytearray(path.read_bytes())
    raw[where] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ContentError, match="altered"):
        contents.read(ref)
    with pytest.raises(ContentError):
        contents.check(ref, CHUNK)


def test_a_shorter_length_in_the_row_is_found(contents: Contents) -> None:
    """Cutting the last chunk off and saying so in the row does not pass: the last chunk bears a mark."""
    ref = settled(contents, b"x" * (2 * CHUNK))
    with pytest.raises(ContentError):
        contents.read(msgspec.structs.replace(ref, length=CHUNK))


def test_swapped_chunks_are_found(contents: Contents) -> None:
    ref = settled(contents, b"x" * CHUNK + b"y" * CHUNK + b"z")
    path = contents.path(ref.segment)
    raw = path.read_bytes()
    size = CHUNK + 16
    head, one, two, rest = raw[:HEADER], raw[HEADER:][:size], raw[HEADER + size :][:size], raw[HEADER + 2 * size :]
    path.write_bytes(head + two + one + rest)
    with pytest.raises(ContentError, match="altered"):
        contents.read(ref)


def test_a_cut_or_missing_segment_is_told(contents: Contents) -> None:
    ref = settled(contents, b"x" * 100)
    path = contents.path(ref.segment)
    os.truncate(path, 60)
    with pytest.raises(ContentError, match="cut"):
        contents.read(ref)
    path.unlink()
    with pytest.raises(ContentError, match="gone"):
        contents.read(ref)


def test_another_content_in_the_place_is_found(contents: Contents) -> None:
    first, second = settled(contents, b"x" * 100), settled(contents, b"y" * 100)
    with pytest.raises(ContentError):
        contents.read(msgspec.structs.replace(first, offset=second.offset))
    with pytest.raises(ContentError, match="not this message's"):
        contents.check(msgspec.structs.replace(first, offset=second.offset), CHUNK)


def test_a_group_is_appended_together(contents: Contents) -> None:
    group = [written(contents, bytes([number]) * 10) for number in range(20)]
    contents.settle(group)
    assert [contents.read(one.ref) for one in group] == [bytes([number]) * 10 for number in range(20)]
    assert [offset for offset, _, _ in contents.records(group[0].ref.segment)] == [one.ref.offset for one in group]


def test_a_full_segment_is_followed_by_another(tmp_path: Path) -> None:
    contents = uncached(tmp_path, roll_bytes=1000)
    refs = [settled(contents, b"x" * 600) for _ in range(4)]
    assert len({ref.segment for ref in refs}) == 2
    assert all(contents.read(ref) == b"x" * 600 for ref in refs)
    contents.close()


def test_a_torn_tail_is_ignored_and_never_written_over(tmp_path: Path) -> None:
    before = uncached(tmp_path)
    ref = settled(before, b"whole")
    before.close()
    path = before.path(ref.segment)
    with path.open("ab") as file:
        file.write(b"MSC1 torn")
    torn = path.read_bytes()
    after = uncached(tmp_path)
    later = settled(after, b"later")
    assert later.segment != ref.segment
    assert path.read_bytes() == torn
    assert after.read(ref) == b"whole"
    assert len(list(after.records(ref.segment))) == 1
    after.close()


def test_two_processes_never_share_an_active_segment(tmp_path: Path) -> None:
    one, other = uncached(tmp_path), uncached(tmp_path)
    first, second = settled(one, b"1"), settled(other, b"2")
    assert first.segment != second.segment
    assert not other.if_unused(first.segment, lambda: pytest.fail("in use"))
    one.close()
    ran = []
    assert other.if_unused(first.segment, lambda: ran.append(True))
    assert ran
    other.close()


def test_a_content_is_refused_before_it_is_settled(contents: Contents) -> None:
    pending = written(contents, b"x")
    with pytest.raises(StoreError, match="contents="):
        _ = pending.ref


def test_what_is_given_up_leaves_no_file(contents: Contents) -> None:
    writer = contents.begin()
    writer.write(b"x" * (2 * SMALL))
    assert len(list(contents.segments())) == 1
    writer.abort()
    writer.abort()
    assert list(contents.segments()) == []
    finished = written(contents, b"x" * (2 * SMALL))
    finished.discard()
    finished.discard()
    assert list(contents.segments()) == []
    with pytest.raises(StoreError, match="finished"):
        writer.write(b"more")
    with pytest.raises(StoreError, match="finished"):
        writer.finish()


def test_recent_contents_are_read_from_memory_until_forgotten(tmp_path: Path) -> None:
    contents = Contents(tmp_path, Keys(MASTER_KEY), cache_bytes=1000)
    first = settled(contents, b"1" * 600)
    assert contents.cached(first)
    shutil.rmtree(tmp_path)
    assert contents.read(first, 2, 3) == b"111"
    contents.forget(first.content_id)
    assert not contents.cached(first)
    with pytest.raises(ContentError):
        contents.read(first)
    contents.close()


def test_the_memory_for_recent_contents_is_bounded(tmp_path: Path) -> None:
    contents = Contents(tmp_path, Keys(MASTER_KEY), cache_bytes=1000)
    refs = [settled(contents, b"x" * 400) for _ in range(3)]
    assert [contents.cached(ref) for ref in refs] == [False, True, True]
    contents.read(refs[1])
    settled(contents, b"y" * 400)
    assert [contents.cached(ref) for ref in refs] == [False, True, False]
    assert not contents.cached(settled(contents, b"z" * 1001))
    contents.close()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The system refuses to let files grow beyond `size`: the nearest to a full disk without one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_and_the_segment_given_up(contents: Contents) -> None:
    first = settled(contents, b"x" * 1000)
    second = written(contents, b"y" * 100_000)
    with file_size_limit(50_000), pytest.raises(StoreFull):
        contents.settle([second])
    assert contents.read(first) == b"x" * 1000
    third = settled(contents, b"z")
    assert third.segment != first.segment
    assert len(list(contents.records(first.segment))) == 1


@pytest.mark.parametrize("room", [0, 50_000])
def test_a_full_disk_leaves_no_segment_for_what_it_refuses(contents: Contents, room: int) -> None:
    first = settled(contents, b"x" * 1000)
    for _ in range(3):
        refused = written(contents, b"y" * 100_000)
        with file_size_limit(room), pytest.raises(StoreFull):
            contents.settle([refused])
        refused.discard()
    assert list(contents.segments()) == [first.segment]
    assert contents.read(settled(contents, b"z")) == b"z"


@pytest.mark.parametrize("call", ["flock", "fsync"])
def test_a_segment_that_cannot_be_used_is_taken_away(
    contents: Contents, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl if call == "flock" else os, call, broken)
        with pytest.raises(StoreFull):
            contents.settle([written(contents, b"x")])
    assert list(contents.segments()) == []
    assert contents.read(settled(contents, b"z")) == b"z"


def test_a_full_disk_while_a_large_content_arrives(contents: Contents) -> None:
    writer = contents.begin()
    with file_size_limit(2 * SMALL), pytest.raises(StoreFull):
        writer.write(b"x" * (4 * SMALL))
    assert list(contents.segments()) == []
    with pytest.raises(StoreError, match="finished"):
        writer.write(b"more")
    writer.abort()


def test_a_disk_that_fills_with_the_last_piece_of_a_large_content(contents: Contents) -> None:
    writer = contents.begin()
    writer.write(b"x" * (SMALL + CHUNK))
    with file_size_limit(SMALL), pytest.raises(StoreFull):
        writer.finish()
    assert list(contents.segments()) == []
