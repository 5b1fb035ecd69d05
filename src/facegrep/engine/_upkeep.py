"""Looking after a store as a whole."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facegrep._arguments import check_share, shown
from facegrep._errors import InvalidArgumentError, NotFoundError, StoreError
from facegrep._names import check_library_name
from facegrep.engine._view import EngineCore
from facegrep.store import ERASE_TIMEOUT_S, MIN_DEAD_SHARE, list_libraries

if TYPE_CHECKING:
    from facegrep.store import Damage, Rewritten


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `Engine.verify` found.

    Attributes
    ----------
    damages
        What is not as it was written: file, words, and the library and block if it is theirs.
    leftovers
        Files that belong to nothing: a crash left them, or a writer is making them just now.
        The next opening for writing removes those that are facegrep's own.
    row_count, block_count, vector_bytes
        How much was checked.
    """

    damages: tuple[Damage, ...]
    leftovers: tuple[str, ...]
    row_count: int
    block_count: int
    vector_bytes: int

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damages

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data, for JSON."""
        return {"ok": self.ok, **asdict(self)}


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What `Engine.compact` did.

    Attributes
    ----------
    rewritten
        Each segment: the file that went, its bytes of vectors before and after.
    erasures_finished
        Whether nothing is left of erasures that were cut off.
    """

    rewritten: tuple[Rewritten, ...]
    erasures_finished: bool

    @property
    def freed_bytes(self) -> int:
        """How much smaller the vectors are."""
        return sum(one.bytes_before - one.bytes_after for one in self.rewritten)

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data, for JSON."""
        return {"freed_bytes": self.freed_bytes, **asdict(self)}


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What `Engine.backup` copied, all accounts together; verified.

    Attributes
    ----------
    directory
        Where it is, absolute.
    seq, time_ms
        The last commit in it, and when it was taken (ms UTC).
    library_count, media_count, face_count
        How much it holds.
    vector_bytes, file_bytes
        Bytes of vectors, and of all files.
    audit_head
        The hash of the newest entry of its audit: it is in the chain of the store, too.
    """

    directory: str
    seq: int
    time_ms: int
    library_count: int
    media_count: int
    face_count: int
    vector_bytes: int
    file_bytes: int
    audit_head: str

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data, for JSON."""
        return asdict(self)


class UpkeepOperations(EngineCore):
    """The Engine's operations on the store as a whole."""

    def backup(self, directory: str | os.PathLike[str]) -> BackupReport:
        """Copy the store, of all accounts, to an empty directory, while writers work.

        The copy is a store: one commit of this one, without frozen answers, every checksum
        verified; access keys, their nonces and the audit of searches are as they were when the call
        began. Opening it uses it; to restore, put it in the place of a store that nobody has
        open. No erasure reaches it, so repeat those made since. It holds back nobody, unless
        vectors are erased or moved three times while it runs: then writers wait for it.

        Parameters
        ----------
        directory
            Absent or empty, on a local filesystem, outside the store.

        Raises
        ------
        InvalidArgumentError
            The directory is something else.
        StoreCorrupt
            The store is damaged: a copy of it would replace good ones.
        StoreFull, StoreError
            The copy cannot be written; what was written of it is removed.
        """
        store = self._store
        target = _empty_directory(directory, store.path)
        copied = store.backup(target, account=self._account, actor=self._actor)
        return BackupReport(
            directory=str(target),
            seq=copied.seq,
            time_ms=copied.time_ms,
            library_count=copied.libraries,
            media_count=copied.media_count,
            face_count=copied.face_count,
            vector_bytes=copied.vector_bytes,
            file_bytes=copied.file_bytes,
            audit_head=copied.audit_head,
        )

    def verify(self, library: str | None = None) -> VerifyReport:
        """Check every checksum.

        Of both databases (every row, each library's digest, SQLite's own check, the audit's chain),
        of the side files and of every block of vectors. Writes nothing, and works beside a writer.

        Parameters
        ----------
        library
            Only this one's rows and vectors; by default everything, of all accounts.

        Returns
        -------
        VerifyReport
            Damage is reported, never raised.

        Raises
        ------
        NotFoundError
            No such library.
        StoreCorrupt
            The library's own row is damaged.
        """
        store = self._store
        row = None if library is None else self._find(check_library_name(library))
        found = store.verify(row)
        return VerifyReport(
            damages=tuple(found.damages),
            leftovers=tuple(found.leftovers),
            row_count=found.rows,
            block_count=found.blocks,
            vector_bytes=found.vector_bytes,
        )

    def compact(
        self, library: str | None = None, *, min_dead_share: float = MIN_DEAD_SHARE
    ) -> CompactReport:
        """Rewrite files of vectors without those of deleted assets, and overwrite the old ones.

        Searches run on; other writers wait for one segment at a time, 2 s for 64 MiB. Erasures that
        were cut off are finished first.

        Parameters
        ----------
        library
            Only this one's; by default those of all libraries of the account.
        min_dead_share
            The share of a segment that must be dead for it to be rewritten; 0 for any.

        Raises
        ------
        NotFoundError
            No such library.
        InvalidArgumentError
            A share that is not in 0..1.
        StoreCorrupt
            A segment is damaged; it is left as it is.
        StoreError
            The disk failed, or is full. What was rewritten before is durable, the rest unchanged.
        """
        share = check_share(min_dead_share, "min_dead_share")
        store = self._writable
        if library is not None:
            rows = [self._find(check_library_name(library))]
        else:
            with store.catalog.read() as connection:
                rows = list_libraries(connection, self._account)
        finished = store.finish_erasures(timeout_s=ERASE_TIMEOUT_S)
        rewritten: list[Rewritten] = []
        for row in rows:
            try:
                with self._shared.indexes.renewing([row]):
                    rewritten += store.compact(row, min_dead_share=share, actor=self._actor)
            except NotFoundError:  # dropped meanwhile
                if library is not None:
                    raise
        return CompactReport(tuple(rewritten), finished)


def _empty_directory(directory: object, store: Path) -> Path:
    """Check where a backup goes."""
    path = os.fspath(directory) if isinstance(directory, (str, os.PathLike)) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise InvalidArgumentError(f"directory: expected that of a backup, got {shown(directory)}")
    target = Path(path).absolute()
    try:
        if target.resolve().is_relative_to(store.resolve()):
            raise InvalidArgumentError(f"directory: {target} is inside the store; choose another")
        if not target.parent.is_dir():
            raise InvalidArgumentError(f"directory: there is no folder {target.parent}")
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InvalidArgumentError(
                f"directory: {target} is not an empty directory; a backup overwrites nothing"
            )
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror or error}; nothing was copied") from error
    return target
