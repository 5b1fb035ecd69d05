"""Erasing assets, and people, with proof."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, overload

from facegrep._errors import InvalidArgumentError
from facegrep._names import check_library_name, check_names
from facegrep.engine._results import Hit
from facegrep.engine._search import SearchOperations
from facegrep.engine._threshold import Threshold
from facegrep.store import Person, find_samples_like, list_libraries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from facegrep.media._picture import PictureSource
    from facegrep.store import Receipt, SampleMatch


@dataclass(frozen=True, slots=True)
class ErasePlan:
    """What `Engine.erase_person` would erase.

    Attributes
    ----------
    library
        Its name.
    hits
        The assets that contain the person, best first.
    threshold, threshold_reason
        The cosine that was required, and why that one.
    samples
        The person's samples in the account's recognition libraries; an entity that has no other
        goes with them.
    """

    library: str
    hits: tuple[Hit, ...]
    threshold: float
    threshold_reason: str
    samples: tuple[SampleMatch, ...] = ()

    @property
    def media_ids(self) -> list[str]:
        """The ids of the assets."""
        return [hit.media_id for hit in self.hits]

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data, for JSON."""
        return asdict(self)


class ErasureOperations(SearchOperations):
    """The Engine's ways to erase."""

    def erase(self, library: str, media_ids: Sequence[str]) -> Receipt:
        """Erase assets: vectors, rows and ids, from every file of the store.

        From the first moment on no search finds them, in any process. Then their vectors are
        overwritten, frozen answers lose their hits, and the databases are rebuilt, which takes
        about as long as copying them; a saved index is made anew. Erase many assets in one call.

        Parameters
        ----------
        library
            Its name.
        media_ids
            Unknown ids are no error; the receipt lists them.

        Returns
        -------
        Receipt
            Given once no file of the store holds anything of them. Of an asset that was deleted
            before the id and row are gone too, its vectors once ``compact(min_dead_share=0)`` has
            run. Other processes have it in memory until they next search the library.

        Raises
        ------
        NotFoundError
            No such library.
        ErasePending
            They are found no more, but not everything is overwritten yet: a reader holds back the
            log, or the disk failed. It goes on by itself, with the next erasure or opening.
        StoreError
            Nothing was erased.
        """
        checked = check_names(media_ids, "media_ids")
        check_library_name(library)
        store, row = self._writable, self._find(library)
        with self._shared.indexes.renewing([row]):
            return store.erase(row, checked, actor=self._actor)

    @overload
    def erase_person(
        self,
        library: str,
        picture: PictureSource | Sequence[PictureSource] | None = None,
        *,
        vector: ArrayLike | None = None,
        threshold: Threshold = "library",
        dry_run: Literal[True] = True,
    ) -> ErasePlan: ...

    @overload
    def erase_person(
        self,
        library: str,
        picture: PictureSource | Sequence[PictureSource] | None = None,
        *,
        vector: ArrayLike | None = None,
        threshold: Threshold = "library",
        dry_run: Literal[False],
    ) -> Receipt: ...

    def erase_person(
        self,
        library: str,
        picture: PictureSource | Sequence[PictureSource] | None = None,
        *,
        vector: ArrayLike | None = None,
        threshold: Threshold = "library",
        dry_run: bool = True,
    ) -> ErasePlan | Receipt:
        """Erase every asset that contains a person, and the frozen answers of searches for them.

        Whole assets go, with the other people in them, and whatever has expired; and their samples
        in the account's recognition libraries, whichever libraries list those. Look at what would
        go first.

        Parameters
        ----------
        library, picture, vector, threshold
            As in `search`; a threshold is needed.
        dry_run
            Only say what would go.

        Returns
        -------
        ErasePlan or Receipt
            What would go, or what went.

        Raises
        ------
        InvalidArgumentError
            No threshold; and what `search` raises.
        ErasePending, StoreError
            As `erase` raises them.

        Notes
        -----
        What another process adds while this runs may stay: stop adding the person first. Of what
        waits to be analysed nobody knows who is in it: `wait_for_jobs` first.
        """
        if threshold is None:
            raise InvalidArgumentError("threshold: a cosine is needed, or every asset would go")
        store = self._store if dry_run else self._writable
        found = self.search(library, picture, vector=vector, threshold=threshold, limit=0)
        hits = found.page(0, found.total).hits
        row = self._find(library)
        required = 0.0 if found.threshold is None else found.threshold  # which it is not
        person = Person(row.model, found.embedding, required)
        if dry_run:
            with store.catalog.read() as connection:
                alike = find_samples_like(connection, self._account, person)
            samples = tuple(match for one in alike for match in one.matches())
            return ErasePlan(library, hits, required, found.threshold_reason, samples)
        self._shared.rosters.forget()
        with self._shared.indexes.renewing([row]):
            # First: were they dropped last, a crash in between would leave them.
            dropped = store.answers.forget_person(row.id, found.embedding, required)
            return store.erase(
                row,
                [hit.media_id for hit in hits],
                actor=self._actor,
                action="erase_person",
                answers=dropped,
                with_expired=True,  # no search says who is in them
                person=person,
            )

    def purge(self, library: str | None = None) -> list[Receipt]:
        """Erase what has expired, and finish erasures that were cut off.

        Of the store's frozen answers too, with what was searched for.

        Parameters
        ----------
        library
            Only this one's; by default those of all libraries of the account.

        Returns
        -------
        list of Receipt
            One a library of which something had expired.

        Raises
        ------
        NotFoundError
            No such library.
        ErasePending, StoreError
            As `erase` raises them.
        """
        store = self._writable
        if library is not None:
            rows = [self._find(check_library_name(library))]
        else:
            with store.catalog.read() as connection:
                rows = list_libraries(connection, self._account)
        with self._shared.indexes.renewing([row for row in rows if row.ttl_ms is not None]):
            return store.purge(rows, actor=self._actor)
