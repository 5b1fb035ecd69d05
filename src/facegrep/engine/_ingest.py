"""Adding pictures and videos: one, or many."""

from __future__ import annotations

import functools
from collections.abc import Sized
from typing import TYPE_CHECKING, Literal

from facegrep._arguments import check_choice, check_iterable
from facegrep._errors import (
    AlreadyExistsError,
    FacegrepError,
    InvalidArgumentError,
    MissingExtraError,
)
from facegrep._names import check_library_name
from facegrep.engine._analysis import analyse
from facegrep.engine._group import Group
from facegrep.engine._items import (
    CheckedItem,
    Item,
    ReadItem,
    ReadVideo,
    check_item,
    read_item,
    read_video_item,
    stored_faces,
)
from facegrep.engine._media import MediaOperations
from facegrep.engine._results import AddManyResult, AddResult
from facegrep.engine._view import require_model
from facegrep.engine._works import analysed, looked_at, runs, works
from facegrep.store import find_identities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from facegrep.engine._analysis import Work
    from facegrep.engine._results import MediaType
    from facegrep.media._picture import PictureSource
    from facegrep.store import LibraryRow
    from facegrep.video import VideoProgress
    from facegrep.vision import FaceAnalyzer, RefusedFace


class IngestOperations(MediaOperations):
    """The Engine's ways to add pictures and videos."""

    def add(
        self,
        library: str,
        *,
        media_id: str,
        source: PictureSource,
        media_type: MediaType | None = None,
        namespace: str | None = None,
        fields: Mapping[str, int | str | None] | None = None,
        utc_create_ms: int | None = None,
        title: str | None = None,
        origin: str | None = None,
        progress: Callable[[VideoProgress], None] | None = None,
    ) -> AddResult:
        """Add a picture or a video; durable when this returns.

        While the library's face index is not active it is stored and not analysed.

        Parameters
        ----------
        library
            Its name.
        media_id
            Unique in the library: 1 to 512 bytes of UTF-8 without control or direction-changing
            characters.
        source
            A path, encoded bytes, a binary file object, or an RGB array (uint8); of a video a path
            or bytes. Of a path the absolute path is kept, of the others nothing once they are
            analysed.
        media_type
            ``"image"`` or ``"video"``; by default what the first bytes say.
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
        progress
            Of a video, called in this thread about once for each frame looked at. What it raises
            ends the call; nothing is added.

        Returns
        -------
        AddResult
            Its faces, those refused and why; of a video how many people appear in it. Adding the
            same asset again (content, type, namespace, fields, a given time) writes nothing and
            says so.

        Raises
        ------
        NotFoundError
            No such library.
        PictureError, VideoError
            It cannot be read. One without a face is stored, with none. Of a video that is damaged
            from some point on, what came before is stored; ``result.video.truncated`` says so.
        MissingExtraError
            A video, and PyAV (``facegrep[video]``) is not installed.
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
        read: ReadItem | ReadVideo
        if checked.is_video:
            read = read_video_item(checked, analysed=analyzer is not None)
        else:
            read = read_item(checked, analysed=analyzer is not None)
        with store.catalog.read() as connection:
            stored = find_identities(connection, row, [media_id]).get(media_id)
        asset = read.asset(None, None)
        if stored is not None:
            if not asset.is_same(stored):
                raise AlreadyExistsError(asset.describe_conflict(stored))
            return self._same_again(library, media_id)
        refused: tuple[RefusedFace, ...] = ()
        if analyzer is not None and isinstance(read, ReadVideo):
            asset = looked_at(read, analyzer, progress)
        elif analyzer is not None and isinstance(read, ReadItem):
            (analysis,) = analyzer.analyze([read.picture.pixels])
            asset, refused = analysed(read, analyzer, analysis), analysis.refused
        (added,) = store.add(row, [asset], stop_at_conflict=True, actor=self._actor)
        if isinstance(added, FacegrepError):
            raise added
        if not added:  # somebody added the same meanwhile
            return self._same_again(library, media_id)
        faces = asset.faces
        return AddResult(
            media_id=media_id,
            added=True,
            faces=() if faces is None else stored_faces(faces),
            refused=refused,
            analysed=faces is not None,
            provider=None if analyzer is None else analyzer.provider,
            video=None if faces is None or faces.video is None else faces.video.facts,
        )

    def add_many(
        self,
        library: str,
        items: Iterable[Item | Mapping[str, object]],
        *,
        progress: Callable[[int, int | None], None] | None = None,
        video_progress: Callable[[str, VideoProgress], None] | None = None,
        on_error: Literal["raise", "collect"] = "raise",
    ) -> AddManyResult:
        """Add many pictures and videos.

        Of pictures reading, detecting and embedding overlap, and commits come in groups. Videos
        are analysed one by one, each with all cores, and each is a commit.

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
        video_progress
            Called in this thread while a video is analysed, with its media id; what it raises ends
            the call.
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
        looked = False
        try:
            for run in runs(works(items, analysed=analyzer is not None)):
                if isinstance(run, CheckedItem):
                    looked |= self._take_video(group, row, run, analyzer, video_progress)
                    continue
                for work in analyse(run, analyzer, functools.partial(self._select_new, row)):
                    if work.error is not None:
                        group.refuse(work.media_id, work.error)
                    elif work.result is not None:
                        group.take(analysed(work.result, analyzer, work.analysis))
                    looked |= work.analysis is not None
            group.commit()
        except FacegrepError as error:
            group.tell(error)
            raise
        return group.result(analyzer.provider if analyzer is not None and looked else None)

    def _take_video(
        self,
        group: Group,
        library: LibraryRow,
        checked: CheckedItem,
        analyzer: FaceAnalyzer | None,
        progress: Callable[[str, VideoProgress], None] | None,
    ) -> bool:
        """Put a video into a commit of its own; whether it was analysed."""
        group.commit()  # pictures do not wait for a film
        media_id = checked.media_id
        with self._store.catalog.read() as connection:
            is_new = media_id not in find_identities(connection, library, [media_id])
        looks = is_new and analyzer is not None
        try:
            read = read_video_item(checked, analysed=analyzer is not None)
            asset = read.asset(None, None)
            if looks and analyzer is not None:
                of_it = None if progress is None else functools.partial(progress, media_id)
                asset = looked_at(read, analyzer, of_it)
        except (InvalidArgumentError, MissingExtraError) as error:
            group.refuse(media_id, error)
            return False
        group.take(asset)
        group.commit()
        return looks

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
            video=media.video,
        )

    def _select_new(self, library: LibraryRow, batch: list[Work[ReadItem]]) -> None:
        """Leave out what is stored already: the same needs no analysis, another is an error."""
        with self._store.catalog.read() as connection:
            named = [work.media_id for work in batch if work.error is None]
            stored = find_identities(connection, library, named)
        for work in batch:
            work.wanted = work.media_id not in stored
