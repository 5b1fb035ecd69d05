"""Looking after a store as a whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from facegrep._names import check_library_name
from facegrep.engine._view import EngineCore

if TYPE_CHECKING:
    from facegrep.store import Damage


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


class UpkeepOperations(EngineCore):
    """The Engine's operations on the store as a whole."""

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
