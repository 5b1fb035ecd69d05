"""Adding pictures: one, or many."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING, Literal

from facegrep._arguments import check_choice, check_iterable
from facegrep._errors import AlreadyExistsError, FacegrepError, InvalidArgumentError
from facegrep._names import check_library_name
from facegrep.engine._analysis import Work, analyse
from facegrep.engine._group import Group
from facegrep.engine._items import (
    Item,
    ReadItem,
    check_item,
    faces_of,
    item_of,
    read_item,
    stored_faces,
)
from facegrep.engine._media import MediaOperations
from facegrep.engine._results import AddManyResult, AddResult
from facegrep.engine._view import require_model
from facegrep.store import Job, find_identities, now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from facegrep.engine._results import MediaType
    from facegrep.media._picture import PictureSource
    from facegrep.store import LibraryRow, NewAsset
    from facegrep.vision import Analysis, FaceAnalyzer


class IngestOperations(MediaOperations):
    """The Engine's ways to add pictures."""

    def add(
        self,
        library: str,
        *,
        media_id: str,
        source: PictureSource,
        media_type: MediaType = "image",
        namespace: str | None = None,
        fields: Mapping[str, int | str | None] | None = None,
        utc_create_ms: int | None = None,
        title: str | None = None,
        origin: str | None = None,
    ) -> AddResult:
        """Add a picture; durable when this returns.

        While the library's face index is not active it is stored and not analysed.

        Parameters
        ----------
        library
            Its name.
        media_id
            Unique in the library: 1 to 512 bytes of UTF-8 without control or direction-changing
            characters.
        source
            A path, encoded bytes, a binary file object, or an RGB array (uint8). Of a path the
            absolute path is kept, of the others nothing once they are analysed.
        media_type
            ``"image"``.
        namespace
            An attribute of the asset, not part of its key; a name as `media_id`.
        fields
            Any of ``intField1`` (int64), ``strField1``, ``strField2``.
        utc_create_ms
            Milliseconds since 1970 UTC; by default now.
        title
            Text of up to 4096 bytes.
        origin
            Kept as the asset's source instead: the path or URL where `source` came from.

        Returns
        -------
        AddResult
            Its faces, those refused and why. Adding the same asset again (content, type,
            namespace, fields, a given time) writes nothing and says so.

        Raises
        ------
        NotFoundError
            No such library.
        PictureError
            The picture cannot be read. One without a face is stored, with none.
        AlreadyExistsError
            The id is taken by another asset.
        InvalidArgumentError
            Names the argument.
        StoreError
            It could not be made durable; nothing was added.
        """
        checked = check_item(
            Item(
                media_id=media_id,
                source=source,
                media_type=media_type,
                namespace=namespace,
                fields=fields,
                utc_create_ms=utc_create_ms,
                title=title,
                origin=origin,
            )
        )
        check_library_name(library)
        store = self._writable
        row = self._find(library)
        analyzer = self._analyzer_for_adding(row)
        read = read_item(checked, analysed=analyzer is not None)
        with store.catalog.read() as connection:
            stored = find_identities(connection, row, [media_id]).get(media_id)
        asset = read.asset(None, None)
        if stored is not None:
            if not asset.is_same(stored):
                raise AlreadyExistsError(asset.describe_conflict(stored))
            return self._same_again(library, media_id)
        analysis = None if analyzer is None else analyzer.analyze([read.picture.pixels])[0]
        asset = _analysed(read, analyzer, analysis)
        (added,) = store.add(row, [asset], stop_at_conflict=True, actor=self._actor)
        if isinstance(added, FacegrepError):
            raise added
        if not added:  # somebody added the same meanwhile
            return self._same_again(library, media_id)
        return AddResult(
            media_id=media_id,
            added=True,
            faces=() if asset.faces is None else stored_faces(asset.faces),
            refused=() if analysis is None else analysis.refused,
            analysed=analysis is not None,
            provider=None if analyzer is None else analyzer.provider,
        )

    def add_many(
        self,
        library: str,
        items: Iterable[Item | Mapping[str, object]],
        *,
        progress: Callable[[int, int | None], None] | None = None,
        on_error: Literal["raise", "collect"] = "raise",
    ) -> AddManyResult:
        """Add many pictures: reading, detecting and embedding overlap; commits come in groups.

        Parameters
        ----------
        library
            Its name.
        items
            `Item`, or mappings with the arguments of `add`; taken as they are needed, so that any
            number of them takes bounded memory.
        progress
            Called in this thread after each commit with the number of items done, and how many
            there are or ``None``.
        on_error
            ``"raise"``: the first bad item raises; what came before it is stored, what comes after
            it is not. ``"collect"``: bad items are left out and returned.

        Returns
        -------
        AddManyResult
            Counts, and the errors of items left out.

        Raises
        ------
        InvalidArgumentError
            With ``"raise"``, that of the first bad item, as `add` raises it.
        StoreError, ModelError, OperationDeniedError
            Nothing more can be stored; the commits so far are durable, and ``error.acknowledged``
            says how many items that are.
        """
        check_choice(on_error, "on_error", ("raise", "collect"))
        check_iterable(items, "items")
        check_library_name(library)
        store = self._writable
        row = self._find(library)
        total = len(items) if isinstance(items, Sized) else None
        group = Group(store, row, on_error, progress, total, action="add_many", actor=self._actor)
        analyzer = self._analyzer_for_adding(row)
        works = _works(items, analysed=analyzer is not None)
        provider = None
        try:
            for work in analyse(works, analyzer, functools.partial(self._select_new, row)):
                if work.error is not None:
                    group.refuse(work.media_id, work.error)
                elif work.result is not None:
                    group.take(_analysed(work.result, analyzer, work.analysis))
                if analyzer is not None and work.analysis is not None:
                    provider = analyzer.provider
            group.commit()
        except FacegrepError as error:
            group.tell(error)
            raise
        return group.result(provider)

    def _analyzer_for_adding(self, library: LibraryRow) -> FaceAnalyzer | None:
        """Return what analyses pictures now; ``None`` while the face index is not active."""
        require_model(library)
        return self._analyzer_of(library) if library.face_index == "active" else None

    def _same_again(self, library: str, media_id: str) -> AddResult:
        media = self.get(library, media_id)
        return AddResult(
            media_id=media_id,
            added=False,
            faces=media.faces,
            refused=(),
            analysed=media.job is not None and media.job.status == "Success",
        )

    def _select_new(self, library: LibraryRow, batch: list[Work[ReadItem]]) -> None:
        """Leave out what is stored already: the same needs no analysis, another is an error."""
        with self._store.catalog.read() as connection:
            named = [work.media_id for work in batch if work.error is None]
            stored = find_identities(connection, library, named)
        for work in batch:
            work.wanted = work.media_id not in stored


def _works(
    items: Iterable[Item | Mapping[str, object]], *, analysed: bool
) -> Iterator[Work[ReadItem]]:
    for value in items:
        work: Work[ReadItem]
        try:
            checked = check_item(item_of(value))
            read = functools.partial(read_item, checked, analysed=analysed)
            work = Work(checked.media_id, read)
        except InvalidArgumentError as error:
            work = Work(_named(value), _unread, error=error)
        yield work


def _named(value: object) -> str:
    """Return the id that a refused item gives, as far as it gives one."""
    if isinstance(value, Mapping):
        media_id = value.get("media_id")
    else:
        media_id = getattr(value, "media_id", None)
    return media_id if isinstance(media_id, str) else ""


def _unread() -> ReadItem:
    raise InvalidArgumentError("an item that was refused is not read")


def _analysed(read: ReadItem, analyzer: FaceAnalyzer | None, analysis: Analysis | None) -> NewAsset:
    if analyzer is None or analysis is None:
        return read.asset(None, None)
    faces = faces_of(analysis, analyzer.dim, analyzer.precision)
    return read.asset(faces, Job("Success", read.checked.submit_ms, now_ms()))
