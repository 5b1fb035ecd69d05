"""Which tracks of a video show one person.

Agglomerative clustering by average linkage: the two groups whose templates are most alike in the
mean become one, until no two reach the threshold. Groups that share a frame never do, since two
faces of one frame are two people; and they hold apart all that joins them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from facegrep.video._results import Template

BLURRED: Final = 0.06
"""Faces below this quality resemble one another, whoever they are: photos of LFW blurred by 3 px
have it, and lost half of their likeness to other photos of the person."""
_BLURRED_ARE_ALIKE: Final = 0.08


def seen_at_once(samples: Sequence[NDArray[np.integer[Any]]]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of tracks that show faces of one frame.

    Parameters
    ----------
    samples
        Of each track: numbers or times of the frames that it is seen in, each once.
    """
    if not samples:
        return
    count = len(samples)
    tracks = np.repeat(np.arange(count), [len(some) for some in samples])
    moments = np.concatenate(samples)
    order = np.lexsort((tracks, moments))
    tracks, moments = tracks[order], moments[order]
    found = [np.empty(0, np.int64)]
    for apart in range(1, len(moments)):  # as far as one frame has faces
        same = moments[apart:] == moments[:-apart]
        if not same.any():
            break
        found.append(np.unique(tracks[:-apart][same] * count + tracks[apart:][same]))
    pairs = np.unique(np.concatenate(found))
    yield from zip((pairs // count).tolist(), (pairs % count).tolist(), strict=True)


def number_persons(
    templates: Sequence[Sequence[Template]], apart: Iterable[tuple[int, int]], threshold: float
) -> list[int]:
    """Give each track a person's number, from 0 in the order of the tracks.

    Parameters
    ----------
    templates
        Of each track, at least one.
    apart
        Pairs of tracks that show faces of one frame.
    threshold
        Least mean cosine of two groups that become one.

    Notes
    -----
    n tracks take 4 n^2 bytes.
    """
    count = len(templates)
    if not count:
        return []
    alike = _mean_cosines(templates)
    np.fill_diagonal(alike, -np.inf)
    for one, other in apart:
        alike[one, other] = alike[other, one] = -np.inf
    group_of = _agglomerate(alike, threshold)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(group, len(numbers)) for group in group_of]


def _mean_cosines(templates: Sequence[Sequence[Template]]) -> NDArray[np.float32]:
    """Return the mean cosine of each two tracks' templates, weighted by quality."""
    means = []
    for some in templates:
        weights = np.array([template.quality + 0.01 for template in some])
        means.append(weights @ np.stack([template.embedding for template in some]) / weights.sum())
    rows = np.asarray(means, np.float32)
    blurred = np.array([max(t.quality for t in some) < BLURRED for some in templates])
    alike: NDArray[np.float32] = rows @ rows.T
    alike[blurred] -= np.float32(_BLURRED_ARE_ALIKE)
    alike[:, blurred] -= np.float32(_BLURRED_ARE_ALIKE)
    return alike


def _agglomerate(alike: NDArray[np.float32], threshold: float) -> list[int]:
    """Return each row's group; the matrix is overwritten."""
    count = len(alike)
    sizes = np.ones(count)
    parent = list(range(count))
    # At least each row's largest value: means are never above what they are made of, so that what
    # a merger lowers needs to be looked up only once its row comes first.
    bound = alike.max(axis=1)
    while True:
        one = int(bound.argmax())
        if not bound[one] >= threshold:
            return [_root(parent, number) for number in range(count)]
        other = int(alike[one].argmax())
        if alike[one, other] < bound[one]:
            bound[one] = alike[one, other]
            continue
        # Minus infinity, for groups that were seen together, stays in any mean.
        row = (sizes[one] * alike[one] + sizes[other] * alike[other]) / (sizes[one] + sizes[other])
        row[[one, other]] = -np.inf
        sizes[one] += sizes[other]
        parent[other] = one
        alike[other, :] = alike[:, other] = bound[other] = -np.inf
        alike[one, :] = alike[:, one] = row
        bound[one] = alike[one].max()
        np.maximum(bound, alike[one], out=bound)


def _root(parent: list[int], number: int) -> int:
    while parent[number] != number:
        number = parent[number]
    return number
