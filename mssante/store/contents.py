"""Message bytes: encrypted records in append-only segment files.

Always true here:
- a byte that was synced is never written again; a torn tail after a crash is ignored, new records go to a new file;
- the process that writes a segment holds a lock (flock) on it until what it wrote is committed or given up, so that
  the compactor of any process leaves it alone;
- each content has its own random AES-256-GCM key and 64 KB chunks; the nonce is the chunk's number and a mark on the
  last one, the additional data its random id: chunks cannot be cut off, reordered or taken from another content;
- small contents (at most 256 KB) are held in memory until `settle` appends them, with one fdatasync a group; larger
  ones are written to a file of their own as they arrive: memory for each content being written stays under 400 KB.

A record is `MSC1`, the content id (16 bytes), the plaintext length (8 bytes, big-endian), then the encrypted chunks.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mssante.store.errors import ContentError, StoreError, StoreFull, StoreUnavailable
from mssante.store.keys import Keys

CHUNK = 65_536
SMALL = 4 * CHUNK
TAG = 16
MAGIC = b"MSC1"
HEADER = len(MAGIC) + 16 + 8
ROLL_BYTES = 64 * 1024 * 1024
SHARED, OWN = "s", "m"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WRITE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class ContentRef(msgspec.Struct, frozen=True):
    """Where a content lies and how it opens: segment name, offset of its record, plaintext length in bytes."""

    segment: str
    offset: int
    length: int
    wrapped_key: bytes
    content_id: bytes


def stored_bytes(length: int) -> int:
    """The bytes that a content of this plaintext length takes in its segment."""
    return HEADER + length + TAG * max(1, -(-length // CHUNK))


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


class PendingContent:
    """A complete content on its way into the store. Give it to `Store.write(..., contents=(it,))` or `discard()` it."""

    def __init__(
        self, ref: ContentRef, record: bytes | None, file: int | None, plain: bytes | None, contents: "Contents"
    ) -> None:
        self._ref, self._record, self._file, self._plain, self._contents = ref, record, file, plain, contents
        self._settled = self._taken = False
        self.used = False
        """Set by the message row that refers to it; an unused content is discarded after the write."""

    @property
    def length(self) -> int:
        return self._ref.length

    @property
    def own_segment(self) -> bool:
        """True of a large content, which has a segment file to itself."""
        return self._record is None

    @property
    def ref(self) -> ContentRef:
        """Where the content lies. Known from the moment its bytes are synced, that is inside the transaction."""
        if not self._settled:
            raise StoreError("this content is not settled: name it in contents= of the write that uses it")
        return self._ref

    def take(self) -> None:
        """Called by the write that the content is given to: there can be only one."""
        if self._taken:
            raise StoreError("this content was given to a write already")
        self._taken = True

    def sync(self) -> None:
        """Brings a large content's own file to stable storage; blocks, so it runs in a thread."""
        if self._file is not None and not self._settled:
            with disk_errors():
                os.fdatasync(self._file)
                self._contents.sync_name(self._ref.segment)
            self._settled = True

    def place(self, segment: str, offset: int) -> None:
        self._ref = msgspec.structs.replace(self._ref, segment=segment, offset=offset)
        self._settled = True
        self._record = b""

    @property
    def record(self) -> bytes:
        """The encrypted record of a small content, to be appended to a shared segment."""
        return self._record or b""

    @property
    def plain(self) -> bytes | None:
        return self._plain

    def piece(self, start: int, length: int) -> bytes:
        """Bytes of a content before it is settled; those of a large one come back from its file, which may block."""
        if self._plain is not None:
            return self._plain[start : start + length]
        return self._contents.read_pending(self._ref, self._record, start, length)

    def release(self) -> None:
        """After the commit: the own file's lock may go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def discard(self) -> None:
        """Gives the content up: its own file goes; a record already in a shared segment stays as dead space."""
        if self._file is not None:
            self._contents.remove(self._ref.segment)
            self.release()
        self._record = b"" if self._record is not None else None


class ContentWriter:
    """Takes the bytes of one content as they arrive. Ends by `finish()` or `abort()`."""

    def __init__(self, contents: "Contents") -> None:
        self._contents = contents
        self._id = os.urandom(16)
        self._key = os.urandom(32)
        self._cipher = AESGCM(self._key)
        self._buffer = bytearray()
        self._chunks: list[bytes] = []
        self._number = 0
        self._segment = ""
        self._file: int | None = None
        self._done = False

    @property
    def length(self) -> int:
        """Bytes taken so far."""
        return self._number * CHUNK + len(self._buffer)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Raises StoreFull or StoreUnavailable; the content is then given up and leaves no file."""
        if self._done:
            raise StoreError("this content is finished")
        self._buffer += data
        try:
            while len(self._buffer) > CHUNK:
                chunk = bytes(memoryview(self._buffer)[:CHUNK])
                del self._buffer[:CHUNK]
                self._encrypted(chunk, last=False)
        except StoreError:
            self.abort()
            raise

    def _encrypted(self, chunk: bytes, *, last: bool) -> None:
        self._chunks.append(self._cipher.encrypt(_nonce(self._number, last), chunk, self._id))
        self._number += 1
        if self._file is None and self._number * CHUNK > SMALL:
            with disk_errors():
                self._segment, self._file = self._contents.create_segment(OWN)
                os.write(self._file, bytes(HEADER))
        if self._file is not None:
            with disk_errors():
                for piece in self._chunks:
                    write_all(self._file, piece)
            self._chunks.clear()

    def finish(self) -> PendingContent:
        """The content, whole. Raises as `write` does."""
        if self._done:
            raise StoreError("this content is finished")
        try:
            return self._finished()
        except StoreError:
            self.abort()
            raise

    def _finished(self) -> PendingContent:
        self._done = True
        length = self.length
        plain = bytes(self._buffer) if self._number == 0 else None
        self._encrypted(bytes(self._buffer), last=True)
        header = MAGIC + self._id + length.to_bytes(8, "big")
        ref = ContentRef(self._segment, 0, length, self._contents.keys.wrap(self._key, self._id), self._id)
        record: bytes | None = None
        if self._file is None:
            record = b"".join((header, *self._chunks))
        else:
            with disk_errors():
                os.pwrite(self._file, header, 0)
        file, self._file = self._file, None
        self._buffer.clear()
        self._chunks.clear()
        return PendingContent(ref, record, file, plain, self._contents)

    def abort(self) -> None:
        """Gives up what was written. May be called at any time; after `finish()` it does nothing."""
        self._done = True
        self._buffer.clear()
        self._chunks.clear()
        if self._file is not None:
            self._contents.remove(self._segment)
            os.close(self._file)
            self._file = None


class Contents:
    """The segment files under one folder. `settle` belongs to the store's writer thread, the rest to any thread."""

    def __init__(
        self, root: Path, keys: Keys, *, cache_bytes: int = 4 * 1024 * 1024, roll_bytes: int = ROLL_BYTES
    ) -> None:
        self.root, self.keys = root, keys
        self._roll_bytes = roll_bytes
        self._segment, self._file, self._end = "", -1, 0
        self._recent = _Recent(cache_bytes)
        with disk_errors():
            root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, segment: str) -> Path:
        return self.root / segment[1:3] / segment

    def begin(self) -> ContentWriter:
        return ContentWriter(self)

    def create_segment(self, kind: str) -> tuple[str, int]:
        """A new, locked segment file: its name, to be brought to stable storage by `sync_name`, and open descriptor."""
        name = kind + secrets.token_hex(8)
        path = self.path(name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        file = os.open(path, _WRITE, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            path.unlink()
            os.close(file)
            raise
        return name, file

    def sync_name(self, segment: str) -> None:
        """After this the file's name survives a power cut as well as its bytes."""
        _sync_folder(self.path(segment).parent)
        _sync_folder(self.root)

    def settle(self, pendings: Sequence[PendingContent]) -> None:
        """Appends the small contents to the active segment and syncs once. Raises StoreFull or StoreUnavailable: then
        none of them is settled and the active segment is given up, so that no later record follows a torn one."""
        waiting = [pending for pending in pendings if pending.record]
        if not waiting:
            return
        try:
            with disk_errors():
                if self._file < 0 or self._end >= self._roll_bytes:
                    self._roll()
                write_all(self._file, b"".join([pending.record for pending in waiting]))
                os.fdatasync(self._file)
        except StoreError:
            self._close_segment()
            raise
        for pending in waiting:
            size = len(pending.record)
            pending.place(self._segment, self._end)
            self._end += size
            if pending.plain is not None:
                self._recent.put(pending.ref.content_id, pending.plain)

    def _roll(self) -> None:
        self._close_segment()
        self._segment, self._file = self.create_segment(SHARED)
        self.sync_name(self._segment)
        self._end = 0

    def _close_segment(self) -> None:
        """Nothing more comes into the active segment. One without a whole record goes away: while the disk is full,
        each refused message would leave one."""
        segment, file, end = self._segment, self._file, self._end
        self._segment, self._file, self._end = "", -1, 0
        if file < 0:
            return
        try:
            if end == 0:
                with disk_errors():
                    self.remove(segment)
        finally:
            os.close(file)

    def read(self, ref: ContentRef, start: int = 0, length: int | None = None) -> bytes:
        """The plaintext from `start`, at most `length` bytes. Decrypts only the chunks it touches. Blocks on the disk
        unless the content was written or read a moment ago; raises ContentError when bytes are missing or altered."""
        end = ref.length if length is None else min(start + length, ref.length)
        plain = self._recent.get(ref.content_id)
        if plain is not None:
            return plain[start:end] if start or end < len(plain) else plain
        if start >= end:
            return b""
        plain = self._decrypted(ref, start, end)
        if ref.length <= CHUNK and end - start == ref.length:
            self._recent.put(ref.content_id, plain)
        return plain

    def read_pending(self, ref: ContentRef, record: bytes | None, start: int, length: int) -> bytes:
        """The same of a content on its way: from its `record`, or from its own segment when it has none."""
        end = min(start + length, ref.length)
        return self._decrypted(ref, start, end, record) if start < end else b""

    def check(self, ref: ContentRef, piece: int) -> None:
        """Decrypts the whole content from the disk, `piece` bytes at a time. Raises ContentError."""
        header = self._stored(ref, -HEADER, 0)
        if header != MAGIC + ref.content_id + ref.length.to_bytes(8, "big"):
            raise ContentError(f"the record at {ref.segment}:{ref.offset} is not this message's")
        for start in range(0, max(1, ref.length), piece):
            self._decrypted(ref, start, min(start + piece, ref.length))

    def _decrypted(self, ref: ContentRef, start: int, end: int, record: bytes | None = None) -> bytes:
        first, last = start // CHUNK, max(start, end - 1) // CHUNK
        final = max(0, (ref.length - 1) // CHUNK)
        stop = min((last + 1) * (CHUNK + TAG), ref.length + TAG * (final + 1))
        begin = first * (CHUNK + TAG)
        stored = self._stored(ref, begin, stop) if record is None else record[HEADER + begin : HEADER + stop]
        cipher = AESGCM(self.keys.unwrap(ref.wrapped_key, ref.content_id))
        view = memoryview(stored)
        pieces = []
        try:
            for number in range(first, last + 1):
                at = (number - first) * (CHUNK + TAG)
                pieces.append(
                    cipher.decrypt(_nonce(number, number == final), view[at : at + CHUNK + TAG], ref.content_id)
                )
        except InvalidTag:
            raise ContentError(f"the content at {ref.segment}:{ref.offset} was altered") from None
        plain = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        skip = start - first * CHUNK
        return plain[skip : skip + end - start] if skip or end - start < len(plain) else plain

    def _stored(self, ref: ContentRef, start: int, stop: int) -> bytes:
        try:
            file = os.open(self.path(ref.segment), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ContentError(f"the segment {ref.segment} is gone: ask for the message's row again") from None
        except OSError as error:
            raise StoreUnavailable(f"the segment {ref.segment} cannot be read: {error.strerror}") from error
        try:
            stored = os.pread(file, stop - start, ref.offset + HEADER + start)
        finally:
            os.close(file)
        if len(stored) < stop - start:
            raise ContentError(f"the content at {ref.segment}:{ref.offset} is cut")
        return stored

    def cached(self, ref: ContentRef) -> bool:
        """True when `read` would answer from memory."""
        return self._recent.holds(ref.content_id)

    def forget(self, content_id: bytes) -> None:
        """An erased content leaves the memory at once."""
        self._recent.drop(content_id)

    def remove(self, segment: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.path(segment).unlink()

    def close(self) -> None:
        self._close_segment()

    def segments(self) -> Iterator[str]:
        """The names of all segment files, those of other processes too."""
        for folder in sorted(self.root.iterdir()):
            if folder.is_dir():
                yield from sorted(path.name for path in folder.iterdir())

    def if_unused(self, segment: str, act: Callable[[], None]) -> bool:
        """Runs `act` while no process is writing the segment; False when one is."""
        try:
            file = os.open(self.path(segment), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            act()
        except BlockingIOError:
            return False
        finally:
            os.close(file)
        return True

    def records(self, segment: str) -> Iterator[tuple[int, bytes, int]]:
        """(offset, content id, plaintext length) of each whole record; stops at a torn tail."""
        with self.path(segment).open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            offset = 0
            while offset + HEADER <= end:
                file.seek(offset)
                header = file.read(HEADER)
                length = int.from_bytes(header[-8:], "big")
                if header[:4] != MAGIC or offset + stored_bytes(length) > end:
                    return
                yield offset, header[4:20], length
                offset += stored_bytes(length)

    def raw_record(self, ref: ContentRef) -> bytes:
        """The encrypted record as it stands, for the compactor to copy."""
        return self._stored(ref, -HEADER, stored_bytes(ref.length) - HEADER)

    def pending_copy(self, ref: ContentRef) -> PendingContent:
        """The same record, ready to be appended to the active segment (the key does not depend on the place)."""
        return PendingContent(ref, self.raw_record(ref), None, None, self)


class _Recent:
    """The plaintext of contents used a moment ago, least recently used out first, bounded in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._items: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, content_id: bytes, plain: bytes) -> None:
        if len(plain) > self._limit:
            return
        with self._lock:
            self._used += len(plain) - len(self._items.pop(content_id, b""))
            self._items[content_id] = plain
            while self._used > self._limit:
                self._used -= len(self._items.popitem(last=False)[1])

    def get(self, content_id: bytes) -> bytes | None:
        with self._lock:
            plain = self._items.get(content_id)
            if plain is not None:
                self._items.move_to_end(content_id)
            return plain

    def holds(self, content_id: bytes) -> bool:
        return content_id in self._items

    def drop(self, content_id: bytes) -> None:
        with self._lock:
            self._used -= len(self._items.pop(content_id, b""))


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Turns the system's errors into StoreFull (no room) or StoreUnavailable."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull("no room left for message contents") from error
        raise StoreUnavailable(f"message contents cannot be written: {error.strerror}") from error


def write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
