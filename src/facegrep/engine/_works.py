"""What is to be added, item by item: read, looked at, ready for the store."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from facegrep._errors import InvalidArgumentError
from facegrep.engine._analysis import Work
from facegrep.engine._items import (
    CheckedItem,
    Item,
    ReadItem,
    ReadVideo,
    check_item,
    faces_of,
    item_of,
    read_item,
)
from facegrep.engine._videos import faces_of_video
from facegrep.store import Job, now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from facegrep.store import NewAsset
    from facegrep.video import VideoProgress
    from facegrep.vision import Analysis, FaceAnalyzer


def works(
    items: Iterable[Item | Mapping[str, object]], *, analysed: bool
) -> Iterator[Work[ReadItem] | CheckedItem]:
    """Yield what is to be done: pictures as works, videos as they are."""
    for value in items:
        try:
            checked = check_item(item_of(value))
        except InvalidArgumentError as error:
            yield Work(_named(value), _unread, error=error)
            continue
        if checked.is_video:
            yield checked
        else:
            yield Work(checked.media_id, functools.partial(read_item, checked, analysed=analysed))


def runs(
    works: Iterable[Work[ReadItem] | CheckedItem],
) -> Iterator[CheckedItem | Iterator[Work[ReadItem]]]:
    """Yield each video, and each run of pictures between them; to be taken before the next."""
    for is_video, run in itertools.groupby(works, lambda one: isinstance(one, CheckedItem)):
        if is_video:
            yield from (one for one in run if isinstance(one, CheckedItem))
        else:
            yield (one for one in run if isinstance(one, Work))


def _named(value: object) -> str:
    """Return the id that a refused item gives, as far as it gives one."""
    if isinstance(value, Mapping):
        media_id = value.get("media_id")
    else:
        media_id = getattr(value, "media_id", None)
    return media_id if isinstance(media_id, str) else ""


def _unread() -> ReadItem:
    raise InvalidArgumentError("an item that was refused is not read")


def analysed(read: ReadItem, analyzer: FaceAnalyzer | None, analysis: Analysis | None) -> NewAsset:
    """Return a picture with what was found in it, if it was looked at."""
    if analyzer is None or analysis is None:
        return read.asset(None, None)
    faces = faces_of(analysis, analyzer.dim, analyzer.precision)
    return read.asset(faces, Job("Success", read.checked.submit_ms, now_ms()))


def looked_at(
    read: ReadVideo, analyzer: FaceAnalyzer, progress: Callable[[VideoProgress], None] | None
) -> NewAsset:
    """Look at a video, and return it with what was found.

    Raises
    ------
    VideoError, MissingExtraError
        As `VideoContent.analyse` raises them.
    """
    analysis = read.video.analyse(analyzer, progress)
    faces = faces_of_video(analysis, analyzer.precision)
    return read.asset(faces, Job("Success", read.checked.submit_ms, now_ms()))
