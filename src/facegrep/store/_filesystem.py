"""The directory of a store: what it may stand on, and how names in it become durable."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from facegrep._errors import StoreError, StoreFull

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600
ALLOW_VARIABLE: Final = "FACEGREP_ALLOW_NETWORK_FILESYSTEM"

# f_type of statfs(2): WAL needs memory shared by all users of the file, and locks that hold; over
# a network neither is sure.
_NETWORK_FILESYSTEMS: Final = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x01021997: "9p",
    0x0BD00BD0: "Lustre",
    0x00C36400: "Ceph",
    0x65735546: "FUSE",
}
_DISK_IS_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def refuse_network_filesystem(path: Path) -> None:
    """Refuse a directory on which SQLite's WAL and flock cannot be trusted.

    Raises
    ------
    StoreError
        The filesystem is one of a network or of FUSE, and the variable that allows it is not "1".
    """
    name = _NETWORK_FILESYSTEMS.get(filesystem_type(path) or 0)
    if name is not None and os.environ.get(ALLOW_VARIABLE) != "1":
        raise StoreError(
            f"{path} is on {name}: a store needs a local filesystem, where locks and shared memory "
            f"hold; move it, or set {ALLOW_VARIABLE}=1 if one host alone uses it"
        )


def filesystem_type(path: Path) -> int | None:
    """``f_type`` of statfs(2), or ``None`` where it cannot be learned (`os.statvfs` lacks it)."""
    if sys.platform != "linux":
        return None
    statfs = ctypes.CDLL(None, use_errno=True).statfs
    # 120 bytes on 64-bit Linux; f_type is the first member and as wide as a long.
    buffer = (ctypes.c_long * 64)()
    if statfs(os.fsencode(path), ctypes.byref(buffer)) != 0:
        return None
    return buffer[0] & 0xFFFFFFFF


def make_directory(path: Path) -> None:
    """Make a directory that only its owner enters, durably. An existing one is left as it is."""
    try:
        os.mkdir(path, DIRECTORY_MODE)  # noqa: PTH102 - Path.mkdir has no dir to sync beside it
    except FileExistsError:
        return
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def raise_store_error(error: OSError, doing: str, consequence: str) -> NoReturn:
    """Raise what an `OSError` means to the caller: `StoreFull` or `StoreError`."""
    kind = StoreFull if error.errno in _DISK_IS_FULL else StoreError
    reason = error.strerror or str(error)
    raise kind(f"{doing} failed: {reason}; {consequence}") from error
