"""Segment files: vectors as int8 codes, one after another, never changed once committed.

A file is a header of 4 KiB and then slots of ``dim`` bytes. How many of them count is written in
the catalog, never in the file: what lies beyond is the rest of a write that was not committed, and
the next append writes over it. Slots are checked in blocks of whole slots, about 64 KiB, whose
length and CRC-32 are in the catalog too (the last block's change with every append).

==========  =====  ===============================================
offset      bytes  header, little-endian
==========  =====  ===============================================
0           8      ``FGREPVEC``
8           2      version, 1
10          2      type of an element, 1 = int8
12          4      dim
16          8      library id
24          8      generation
32          8      number
40          32     sha256 of the model's id, zeros without a model
4092        4      CRC-32 of the bytes before
==========  =====  ===============================================
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep._errors import StoreCorrupt
from facegrep.store._filesystem import FILE_MODE, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

HEADER_BYTES: Final = 4096
CAPACITY_BYTES: Final = 64 << 20
"""A segment that has reached this takes no more; one append always fits into one segment."""

_BLOCK_BYTES: Final = 64 << 10
_MAGIC: Final = b"FGREPVEC"
_VERSION: Final = 1
_INT8: Final = 1
_HEADER: Final = struct.Struct("<8sHHIQQQ32s")


@dataclass(frozen=True, slots=True)
class Block:
    """A run of slots as the catalog knows it.

    Attributes
    ----------
    length
        Bytes that count.
    crc32
        Of those bytes, once the erased are zero.
    erased
        Ranges of bytes that are being overwritten: nobody may know yet whether they were.
    """

    length: int
    crc32: int
    erased: tuple[slice, ...] = ()

    def settled(self, data: bytes) -> bytes | bytearray:
        """Return the bytes as they will be."""
        if not self.erased:
            return data
        changed = bytearray(data)
        for part in self.erased:
            changed[part] = bytes(len(changed[part]))
        return changed


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment file, and how much of it a snapshot may read."""

    id: int
    library_id: int
    library_name: str
    generation: int
    number: int
    model: str | None
    dim: int
    committed_bytes: int
    sealed: bool

    @property
    def file_name(self) -> str:
        """Made of integers of ours, never of a user's text."""
        return f"{self.library_id}-{self.generation}-{self.number}.vec"

    @property
    def slots_per_block(self) -> int:
        """A block holds whole slots."""
        return max(1, _BLOCK_BYTES // self.dim)

    @property
    def block_bytes(self) -> int:
        """Length of every block but the last."""
        return self.slots_per_block * self.dim

    def header(self) -> bytes:
        """Return the 4096 bytes that the file must begin with."""
        model = hashlib.sha256(self.model.encode()).digest() if self.model else bytes(32)
        fields = _HEADER.pack(
            _MAGIC,
            _VERSION,
            _INT8,
            self.dim,
            self.library_id,
            self.generation,
            self.number,
            model,
        )
        padded = fields.ljust(HEADER_BYTES - 4, b"\0")
        return padded + struct.pack("<I", zlib.crc32(padded))

    def corrupt(self, what: str, *, block: int | None = None) -> StoreCorrupt:
        """Build the error that names this segment, and the block if it is one."""
        return StoreCorrupt(
            f"library {self.library_name!r}, segment {self.file_name}: {what}; other libraries of "
            "the store are not affected",
            library=self.library_name,
            block=None if block is None else (self.file_name, block),
        )


def create_segment(folder: Path, segment: Segment) -> None:
    """Make the file durable, contents and name, before the catalog speaks of it."""
    path = folder / segment.file_name
    # Under the writer's lock, and not in the catalog: the rest of a writer that died.
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE)
    try:
        _write_all(descriptor, memoryview(segment.header()), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(folder)


def write_segment_file(
    unfinished: Path, folder: Path, segment: Segment, codes: NDArray[np.int8]
) -> None:
    """Make a whole file durable, contents and name, before the catalog speaks of it."""
    path = unfinished / segment.file_name
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE)
    try:
        _write_all(descriptor, memoryview(segment.header()), 0)
        _write_all(descriptor, codes.data.cast("B"), HEADER_BYTES)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.rename(folder / segment.file_name)
    sync_directory(folder)


def append_codes(folder: Path, segment: Segment, codes: NDArray[np.int8]) -> None:
    """Write codes after the committed ones and make them durable."""
    with open_segment_file(folder, segment, writing=True) as descriptor:
        _write_all(descriptor, codes.data.cast("B"), HEADER_BYTES + segment.committed_bytes)
        os.fdatasync(descriptor)


def extend_blocks(
    segment: Segment, last: Block | None, codes: NDArray[np.int8]
) -> Iterator[tuple[int, Block]]:
    """Yield ``(number, block)`` of every block that appending `codes` changes or makes.

    `last` is the last block so far; a CRC-32 goes on where it stopped.
    """
    data = codes.data.cast("B")
    number, filled = divmod(segment.committed_bytes, segment.block_bytes)
    crc = last.crc32 if last is not None and filled else 0
    start = 0
    while start < len(data):
        part = data[start : start + segment.block_bytes - filled]
        crc = zlib.crc32(part, crc)
        yield number, Block(filled + len(part), crc)
        start += len(part)
        number, filled, crc = number + 1, 0, 0


def read_codes(
    folder: Path, segment: Segment, blocks: Mapping[int, Block], slots: NDArray[np.int64]
) -> NDArray[np.int8]:
    """Read the codes in `slots` (ascending), checking every block that is touched.

    Raises
    ------
    StoreCorrupt
        The file, its header or a block is not what was committed. A caller whose snapshot may be
        outdated looks at the catalog again first: a face index that is switched off overwrites its
        files.
    """
    codes = np.empty((len(slots), segment.dim), dtype=np.int8)
    if not len(slots):
        return codes
    if slots[0] < 0 or (int(slots[-1]) + 1) * segment.dim > segment.committed_bytes:
        raise segment.corrupt("the catalog names slots beyond the committed ones")
    with open_segment_file(folder, segment) as descriptor:
        numbers = slots // segment.slots_per_block
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(slots)], strict=True):
            number = int(numbers[start])
            block = read_block(descriptor, segment, number, blocks.get(number))
            codes[start:end] = block[slots[start:end] - number * segment.slots_per_block]
    return codes


def overwrite_slots(descriptor: int, segment: Segment, slots: Iterable[range]) -> None:
    """Write zeros over slots, durably; never beyond the end of the file."""
    size = os.fstat(descriptor).st_size
    for part in slots:
        start = HEADER_BYTES + part.start * segment.dim
        _write_zeros(descriptor, start, min(len(part) * segment.dim, max(size - start, 0)))
    os.fdatasync(descriptor)


def wipe_segment(path: Path) -> None:
    """Overwrite a file with zeros, durably, and remove it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        wipe_descriptor(descriptor)
    finally:
        os.close(descriptor)
    path.unlink(missing_ok=True)


def wipe_descriptor(descriptor: int) -> None:
    """Overwrite an open file with zeros, durably."""
    _write_zeros(descriptor, 0, os.fstat(descriptor).st_size)
    os.fdatasync(descriptor)


@contextlib.contextmanager
def open_segment_file(folder: Path, segment: Segment, *, writing: bool = False) -> Iterator[int]:
    """Open a segment's file, for as long as the block runs; its descriptor.

    Raises
    ------
    StoreCorrupt
        Its size or header is not as the catalog says.
    """
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_RDWR if writing else os.O_RDONLY)
    try:
        descriptor = os.open(folder / segment.file_name, flags)
    except FileNotFoundError as error:
        raise segment.corrupt("the file is missing") from error
    try:
        size = os.fstat(descriptor).st_size
        if size < HEADER_BYTES + segment.committed_bytes:
            raise segment.corrupt(
                f"{size} bytes long, but {HEADER_BYTES + segment.committed_bytes} were committed"
            )
        if os.pread(descriptor, HEADER_BYTES, 0) != segment.header():
            raise segment.corrupt("its header is damaged or belongs to another segment")
        yield descriptor
    finally:
        os.close(descriptor)


def read_block(
    descriptor: int, segment: Segment, number: int, block: Block | None
) -> NDArray[np.int8]:
    """Read a block of slots, int8 ``(slots, dim)``, with zeros where it is erased.

    Raises
    ------
    StoreCorrupt
        It is not what was written.
    """
    start = number * segment.block_bytes
    expected = min(segment.block_bytes, segment.committed_bytes - start)
    if block is None or block.length != expected:
        raise segment.corrupt(f"the catalog has no valid entry of block {number}", block=number)
    data = block.settled(os.pread(descriptor, expected, HEADER_BYTES + start))
    if len(data) != expected or zlib.crc32(data) != block.crc32:
        raise segment.corrupt(f"block {number} fails its checksum", block=number)
    return np.frombuffer(data, dtype=np.int8).reshape(-1, segment.dim)


def _write_zeros(descriptor: int, start: int, size: int) -> None:
    zeros = memoryview(bytes(min(size, 1 << 20)))
    for done in range(0, size, len(zeros) or 1):
        _write_all(descriptor, zeros[: size - done], start + done)


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data = data[written:]
        offset += written
