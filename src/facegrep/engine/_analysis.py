"""Reading and analysing many pictures at once, in order, in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from facegrep._errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from facegrep.media import Picture
    from facegrep.vision import Analysis, FaceAnalyzer

# Pictures of phones have 12 megapixels, 36 MB once decoded. A batch is closed at either bound; two
# are analysed, one is filled, and each reader holds one more. Measured on two cores with pictures
# of 25 megapixels: 0.8 GB (PNG) to 1.3 GB (WebP), most of it while they are decoded.
_BATCH_PICTURES: Final = 16
_BATCH_PIXELS: Final = 24_000_000
_BATCHES_AT_ONCE: Final = 2
"""One is embedded while another is detected."""


class HasPicture(Protocol):
    """What reading gives."""

    @property
    def picture(self) -> Picture:
        """The picture read."""


_Read = TypeVar("_Read", bound=HasPicture)
_A = TypeVar("_A")
_B = TypeVar("_B")


@dataclass(slots=True, eq=False)
class Work(Generic[_Read]):
    """A picture on its way.

    Attributes
    ----------
    media_id
        Whose it is.
    read
        Reads it, in another thread.
    result, error
        What `read` returned, or the `InvalidArgumentError` that it raised.
    wanted
        Whether it is to be analysed.
    analysis
        What was found in it.
    """

    media_id: str
    read: Callable[[], _Read]
    result: _Read | None = None
    error: InvalidArgumentError | None = None
    wanted: bool = True
    analysis: Analysis | None = None


def analyse(
    works: Iterable[Work[_Read]],
    analyzer: FaceAnalyzer | None,
    select: Callable[[list[Work[_Read]]], None],
) -> Iterator[Work[_Read]]:
    """Read pictures and analyse them, overlapping the stages; yields them in their order.

    Parameters
    ----------
    works
        Taken as they are needed, in the caller's thread.
    analyzer
        ``None``: pictures are only read.
    select
        Sees each batch once it is read, in another thread, and says which are `wanted`.
    """
    readers = os.cpu_count() or 1
    with (
        ThreadPoolExecutor(readers, "facegrep-read") as reading,
        ThreadPoolExecutor(_BATCHES_AT_ONCE, "facegrep-analyse") as analysing,
    ):

        def analyse_batch(batch: list[Work[_Read]]) -> list[Work[_Read]]:
            select(batch)
            chosen = [(work, work.result) for work in batch if work.result and work.wanted]
            if analyzer is not None and chosen:
                found = analyzer.analyze([result.picture.pixels for _, result in chosen])
                for (work, _), analysis in zip(chosen, found, strict=True):
                    work.analysis = analysis
            return batch

        read = _ahead(reading, _read, works, readers + 1)
        for batch in _ahead(analysing, analyse_batch, _batches(read), _BATCHES_AT_ONCE):
            yield from batch


def _read(work: Work[_Read]) -> Work[_Read]:
    if work.error is not None:  # refused before it was read
        return work
    try:
        work.result = work.read()
    except InvalidArgumentError as error:
        work.error = error
    return work


def _batches(works: Iterable[Work[_Read]]) -> Iterator[list[Work[_Read]]]:
    batch: list[Work[_Read]] = []
    pixels = 0
    for work in works:
        more = work.result.picture.width * work.result.picture.height if work.result else 0
        if batch and (len(batch) >= _BATCH_PICTURES or pixels + more > _BATCH_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(work)
        pixels += more
    if batch:
        yield batch


def _ahead(
    workers: ThreadPoolExecutor, function: Callable[[_A], _B], items: Iterable[_A], count: int
) -> Iterator[_B]:
    """Apply a function to items in other threads, `count` of them at once; results in order."""
    running: deque[Future[_B]] = deque()
    try:
        for item in items:
            running.append(workers.submit(function, item))
            if len(running) >= count:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()
