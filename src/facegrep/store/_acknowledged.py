"""How far a database had got when its last commit was acknowledged, in a file beside it.

SQLite drops every frame of its log from the first damaged one on, without a word: commits that were
acknowledged would be gone. So the number of each is written here after its COMMIT and before the
call returns, and a database that is behind it is damaged.

The file is two sectors, written in turn, so that a torn write leaves one. Neither is synced: the
COMMIT before it was, so the file may fall behind a durable database, and can never be ahead of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from facegrep._errors import StoreCorrupt
from facegrep.store._filesystem import FILE_MODE, sync_directory

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX: Final = ".acknowledged"
NO_HEAD: Final = bytes(32)
"""The head of an audit without entries."""

_SECTOR_BYTES: Final = 512
_MAGIC: Final = b"FGREPACK"
_SLOT: Final = struct.Struct("<8sQ32s")
_SLOT_BYTES: Final = _SLOT.size + 8


class Acknowledgement(NamedTuple):
    """A commit's number, and the hash of the newest entry of the audit."""

    seq: int
    audit_head: bytes


class AcknowledgedFile:
    """The side file of a database. Written under the database's lock, read by anybody."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_suffix(SUFFIX)
        self._descriptor: _Descriptor | None = None

    def create(self) -> None:
        """Make the file, durably, before its database: acknowledging nothing."""
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, FILE_MODE)
        try:
            slot = _pack(Acknowledgement(0, NO_HEAD)).ljust(_SECTOR_BYTES, b"\0")
            os.pwrite(descriptor, slot * 2, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(self.path.parent)

    def exists(self) -> bool:
        """Whether there is one."""
        return self.path.exists()

    def has_acknowledged(self) -> bool:
        """Whether anything was: there is a file, and one whose making was not cut off.

        Raises
        ------
        StoreCorrupt
            Neither sector holds what was written.
        """
        if not self.exists():
            return False
        data = self.read()
        return len(data) == 2 * _SECTOR_BYTES and any(data) and self.newest(data).seq > 0

    def read(self) -> bytes:
        """Read the file as it is.

        Raises
        ------
        StoreCorrupt
            It is missing.
        """
        held = self._descriptor
        if held is None:
            # Writing needs O_RDWR; a readonly store may lack the right to it.
            flags = os.O_CLOEXEC | os.O_NOFOLLOW
            try:
                try:
                    held = _Descriptor(os.open(self.path, flags | os.O_RDWR))
                except PermissionError:
                    held = _Descriptor(os.open(self.path, flags | os.O_RDONLY))
            except FileNotFoundError as error:
                raise StoreCorrupt(
                    f"{self.path.name} is missing, so that nobody knows which commits were "
                    "acknowledged; put it back, from where the database beside it came from"
                ) from error
            self._descriptor = held
        return os.pread(held.number, 2 * _SECTOR_BYTES, 0)

    def newest(self, data: bytes) -> Acknowledgement:
        """Return what `read` read.

        Raises
        ------
        StoreCorrupt
            Neither sector holds what was written.
        """
        valid = [slot for slot in slots(data) if slot is not None]
        if not valid:
            raise StoreCorrupt(f"{self.path.name} is damaged: neither of its halves is valid")
        return max(valid)

    def write(self, acknowledged: Acknowledgement) -> None:
        """Acknowledge a commit that is durable. After an error the file is behind, as it may be."""
        with contextlib.suppress(OSError, StoreCorrupt):
            first, second = (slot or (-1,) for slot in slots(self.read()))
            older = int(first[0] > second[0])
            if self._descriptor is not None:
                os.pwrite(self._descriptor.number, _pack(acknowledged), older * _SECTOR_BYTES)

    def close(self) -> None:
        """Let go of the file; threads that read it finish."""
        self._descriptor = None


def slots(data: bytes) -> list[Acknowledgement | None]:
    """Return what each sector holds; ``None`` where that fails its checksum."""
    return [_unpack(data[start : start + _SLOT_BYTES]) for start in (0, _SECTOR_BYTES)]


class _Descriptor:
    """Closed when nobody uses it any more, so that its number is not taken in the middle."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


def _pack(acknowledged: Acknowledgement) -> bytes:
    data = _SLOT.pack(_MAGIC, *acknowledged)
    return data + hashlib.blake2b(data, digest_size=8).digest()


def _unpack(slot: bytes) -> Acknowledgement | None:
    data, digest = slot[: _SLOT.size], slot[_SLOT.size :]
    if hashlib.blake2b(data, digest_size=8).digest() != digest or len(data) != _SLOT.size:
        return None
    _, seq, audit_head = _SLOT.unpack(data)
    return Acknowledgement(seq, audit_head)
