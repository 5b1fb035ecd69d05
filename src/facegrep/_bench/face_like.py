"""Vectors that are as like and unlike each other as embeddings of faces. Seeded, any number.

Fitted to the largest faces of 1,191 photos of 200 people of Labeled Faces in the Wild (3,235
genuine and 705,410 impostor pairs), embedded by the two models of ``models/``. Cosines:

========= ============== ============================== ============== =========================
vectors   genuine        at 1 / 5 / 25 / 50 / 75 / 95 % impostor       at 1 / 50 / 95 / 99.9 %
========= ============== ============================== ============== =========================
SFace     .653 +- .108   .36 .47 .59 .66 .73 .81        .089 +- .089   -.117 .090 .236 .361
128-d     .652 +- .109   .36 .45 .58 .66 .73 .82        .090 +- .089   -.116 .089 .236 .360
fr_feature .654 +- .122  .29 .44 .58 .67 .74 .82        .008 +- .097   -.213 .006 .171 .338
512-d     .653 +- .122   .34 .43 .57 .67 .74 .83        .008 +- .098   -.215 .006 .172 .342
========= ============== ============================== ============== =========================

A face is ``sqrt(m) * common + sqrt(1 - m) * (s * person + sqrt(1 - s^2) * picture)``, normalised:
a direction that all faces share, a person drawn around one of 50 groups (people of a kind are more
alike, which is the impostors' upper tail), and what differs between pictures, the more so the worse
the picture: s is Beta distributed. Variances fall off exponentially from axis to axis, so that
about 105 dimensions count, as in both models; a rotation hides the axes. The largest coordinate,
which sets the scale of the code, then has the size that it has in real embeddings, too.

Not modelled: relatives, twins, wrong labels, faces that are no faces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep._errors import InvalidArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK_FACES: Final = 1024
FACES_A_PERSON: Final = 8
_PEOPLE = CHUNK_FACES // FACES_A_PERSON
_GROUPS = 50
_QUERIES = 2**40  # a stream of random numbers of its own, beyond any chunk's


@dataclass(frozen=True, slots=True)
class Fit:
    """What makes vectors look like a model's."""

    common: float  # m: the mean cosine of strangers
    decay: float  # of the variances, from axis to axis
    quality: tuple[float, float]  # s ~ Beta: a genuine pair's mean cosine is about E[s]^2
    alike: float  # share of a person's variance that is the group's


FITS: Final = {
    128: Fit(common=0.0885, decay=0.0127, quality=(14.5, 3.9), alike=0.05),
    512: Fit(common=0.003, decay=0.0187, quality=(12.5, 2.95), alike=0.27),
}


class FaceLike:
    """A population: 8 faces a person, two consecutive faces an asset.

    In every fourth asset both faces are the same person's (a clip, a burst), in the others two
    people's. People do not span chunks of 1,024 faces, so that a smaller library is the beginning
    of a larger one.

    Parameters
    ----------
    dim
        128 (like SFace) or 512 (like fr_feature).
    seed
        Another seed, another population.
    """

    def __init__(self, dim: int, seed: int = 2026) -> None:
        if dim not in FITS:
            raise InvalidArgumentError(f"dim: expected one of {sorted(FITS)}, got {dim}")
        self.dim = dim
        self._seed = seed
        self._fit = fit = FITS[dim]
        random = np.random.default_rng([seed, dim])
        rotation = np.linalg.qr(random.standard_normal((dim + 1, dim + 1)))[0][:, :dim]
        spectrum = np.exp(-fit.decay * np.arange(dim))
        spectrum *= (1 - fit.common) / spectrum.sum()
        self._mixing = np.float32(np.sqrt(spectrum)[:, None] * rotation[:dim])
        self._common = np.float32(
            np.sqrt(fit.common) * rotation[dim] / np.linalg.norm(rotation[dim])
        )
        self._groups = random.standard_normal((_GROUPS, dim), np.float32)

    def faces(self, count: int) -> Iterator[NDArray[np.float32]]:
        """Unit vectors, shape ``(up to 1024, dim)`` at a time, ``count`` in all."""
        for chunk, start in enumerate(range(0, count, CHUNK_FACES)):
            random, people = self._people(chunk)
            shown = _shuffled_in_pairs(random)
            yield self._pictures(random, people[shown])[: count - start]

    def queries(self, count: int, library_faces: int) -> NDArray[np.float32]:
        """Other pictures of ``count`` people of the library's, unit vectors ``(count, dim)``.

        Their people are spread over the library. All are different, if it has that many.
        """
        chunks = max(1, library_faces // CHUNK_FACES)
        rows = []
        for query in range(count):
            _, people = self._people(query * chunks // count)
            random = np.random.default_rng([self._seed, self.dim, _QUERIES + query])
            person = people[query * _PEOPLE // count][None]
            rows.append(self._pictures(random, person))
        return np.concatenate(rows)

    def _people(self, chunk: int) -> tuple[np.random.Generator, NDArray[np.float32]]:
        random = np.random.default_rng([self._seed, self.dim, chunk])
        own = random.standard_normal((_PEOPLE, self.dim), np.float32)
        group = self._groups[random.integers(_GROUPS, size=_PEOPLE)]
        alike = self._fit.alike
        return random, np.float32(np.sqrt(1 - alike)) * own + np.float32(np.sqrt(alike)) * group

    def _pictures(
        self, random: np.random.Generator, people: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        share = random.beta(*self._fit.quality, size=(len(people), 1)).astype(np.float32)
        differs = random.standard_normal(people.shape, np.float32)
        faces = (share * people + np.sqrt(1 - share * share) * differs) @ self._mixing
        faces += self._common
        return np.asarray(faces / np.linalg.norm(faces, axis=1, keepdims=True), np.float32)


def _shuffled_in_pairs(random: np.random.Generator) -> NDArray[np.intp]:
    shown = np.repeat(np.arange(_PEOPLE), FACES_A_PERSON)
    random.shuffle(shown[CHUNK_FACES // 4 :])
    pairs = shown.reshape(-1, 2)
    random.shuffle(pairs)
    return pairs.reshape(-1)
