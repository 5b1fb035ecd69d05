"""How well unknown faces are put together into people, and how long that takes.

    python -m benches.people FOLDER
    python -m benches.people --faces 100000

FOLDER holds one folder a person with that person's photos, such as Labeled Faces in the Wild. All
faces of all photos are clustered, the largest of each photo is judged, by B-cubed and pairwise
precision and recall; once as they are, once with one photo each of six people of ten, since most
faces of a library are strangers'. Others are repaired where they made two faces of a photo one
person: the one nearer to the mean stays.

With --faces: made-up faces, as many as that, of two kinds: everybody on 8 photos; and a family of
20 on half of the photos, the others strangers on one photo each. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benches.accuracy_lfw import analyse
from benches.machine import describe_machine
from facegrep import _core
from facegrep._bench.face_like import FaceLike
from facegrep.engine._clusters import cluster
from facegrep.engine._roster import units_of
from facegrep.vision import FaceAnalyzer

NOBODY: Final = -1
STRANGERS: Final = 0.6
FAMILY: Final = 20
FACES_A_PERSON: Final = 8
_PART: Final = 1024

Ints = NDArray[np.int64]


class Faces(NamedTuple):
    """Faces, the photo of each, and whose it is; `NOBODY`: that is not known."""

    codes: NDArray[np.int8]
    photos: Ints
    people: Ints

    def taken(self, chosen: NDArray[np.bool_]) -> Faces:
        return Faces(self.codes[chosen], self.photos[chosen], self.people[chosen])


class Judgement(NamedTuple):
    """B-cubed and pairwise precision and recall, of the faces whose person is known."""

    precision: float
    recall: float
    pair_precision: float
    pair_recall: float


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--faces", type=int, help="how many to make up")
    parser.add_argument("--kind", choices=[*KINDS], nargs="*", default=[*KINDS])
    parser.add_argument("--threshold", type=float, default=0.42)
    options = parser.parse_args(arguments)
    machine = describe_machine()
    sys.stdout.write(f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}\n\n")
    if options.faces:
        _print_scale(options.faces, options.kind, options.threshold)
    if options.folder is not None:
        photos = sorted(path for path in options.folder.glob("*/*") if path.suffix == ".jpg")
        if not photos:
            parser.error(f"{options.folder}: expected <person>/<photo>.jpg below it")
        _print_quality(photos)
    return 0


def _print_quality(photos: list[Path]) -> None:
    gallery = analyse(FaceAnalyzer("sface"), photos, Console(stderr=True))
    photo = gallery.photo_of_face.astype(np.int64)
    is_largest = np.diff(photo, prepend=-1) > 0
    people = np.where(is_largest, gallery.person_of_photo[photo], NOBODY)
    faces = Faces(_core.quantize(gallery.faces), photo, people)
    sets = {"all": faces, "mostly strangers": with_strangers(faces)}
    for name, some in sets.items():
        sys.stdout.write(
            f"{name}: {len(some.codes):,} faces, {len(np.unique(some.people)) - 1} known people\n\n"
            "| way | B-cubed precision | recall | F | pairs: precision | recall | repaired | ms |\n"
            "|---|---|---|---|---|---|---|---|\n"
        )
        for way, run in ways().items():
            started = time.perf_counter()
            found = run(some)
            took_ms = (time.perf_counter() - started) * 1000
            whole = repaired(some, found)
            said = judge(some.people, whole)
            mean = 2 * said.precision * said.recall / (said.precision + said.recall)
            numbers = (said.precision, said.recall, mean, said.pair_precision, said.pair_recall)
            cells = [f"{number:.4f}" for number in numbers]
            row = [way, *cells, f"{(whole != found).sum()}", f"{took_ms:,.0f}"]
            sys.stdout.write(f"| {' | '.join(row)} |\n")
        sys.stdout.write("\n")


def ways() -> dict[str, Callable[[Faces], Ints]]:
    """The ways to cluster; each gives a number a face, `NOBODY` to those that it leaves out."""
    found: dict[str, Callable[[Faces], Ints]] = {}
    for threshold in (0.36, 0.40, 0.42, 0.46):
        name = f"average linkage {threshold:.2f} (facegrep)"
        found[name] = lambda faces, least=threshold: by_facegrep(faces, least)  # type: ignore[misc]
    for smallest, samples in ((2, 1), (2, 3), (3, 3)):
        name = f"HDBSCAN, min_cluster_size {smallest}, min_samples {samples}"
        found[name] = lambda faces, a=smallest, b=samples: by_hdbscan(faces, a, b)  # type: ignore[misc]
    for threshold in (0.42, 0.46, 0.50):
        name = f"connected components {threshold:.2f}"
        found[name] = lambda faces, least=threshold: by_components(faces, least)  # type: ignore[misc]
    for threshold in (0.42, 0.46, 0.50):
        name = f"Chinese whispers {threshold:.2f}"
        found[name] = lambda faces, least=threshold: by_whispers(faces, least)  # type: ignore[misc]
    return found


def by_facegrep(faces: Faces, threshold: float) -> Ints:
    return cluster(faces.codes, faces.photos, np.full(len(faces.codes), NOBODY), threshold)


def by_hdbscan(faces: Faces, smallest: int, samples: int) -> Ints:
    from sklearn.cluster import HDBSCAN

    model = HDBSCAN(min_cluster_size=smallest, min_samples=samples, copy=True)
    return np.asarray(model.fit_predict(units_of(faces.codes)), np.int64)


def by_components(faces: Faces, threshold: float) -> Ints:
    units = units_of(faces.codes)
    numbers = np.arange(len(units))
    near = units @ units.T >= threshold
    while True:
        least = np.where(near, numbers, len(units)).min(axis=1)
        if np.array_equal(least, numbers):
            return numbers
        numbers = least


def by_whispers(faces: Faces, threshold: float) -> Ints:
    """Each face takes the number of those that it is most like, in turns (Biemann 2006)."""
    units = units_of(faces.codes)
    alike = units @ units.T
    alike[(alike < threshold) | (faces.photos[:, None] == faces.photos)] = 0
    numbers = np.arange(len(units))
    chance = np.random.default_rng(1)
    for _ in range(20):
        before = numbers.copy()
        for face in chance.permutation(len(units)):
            near = np.flatnonzero(alike[face])
            if len(near):
                numbers[face] = np.bincount(numbers[near], weights=alike[face, near]).argmax()
        if np.array_equal(before, numbers):
            break
    return numbers


def repaired(faces: Faces, found: Ints) -> Ints:
    """Leave one face of a photo in each cluster."""
    units, whole = units_of(faces.codes), found.copy()
    for number in np.unique(found[found != NOBODY]):
        members = np.flatnonzero(found == number)
        typical = units[members] @ units[members].sum(axis=0)
        ranked = members[np.argsort(-typical, kind="stable")]
        _, firsts = np.unique(faces.photos[ranked], return_index=True)
        whole[np.delete(ranked, firsts)] = NOBODY
    return whole


def with_strangers(faces: Faces) -> Faces:
    """Leave some people one photo each."""
    known = np.unique(faces.people[faces.people != NOBODY])
    chosen = np.random.default_rng(1).permutation(known)[: int(len(known) * STRANGERS)]
    gone: list[int] = []
    for person in chosen:
        gone += np.unique(faces.photos[faces.people == person])[1:].tolist()
    return faces.taken(~np.isin(faces.photos, gone))


def judge(people: Ints, found: Ints) -> Judgement:
    """Compare; who is left out is alone."""
    clusters = np.where(found == NOBODY, found.max() + 1 + np.arange(len(found)), found)
    known = people != NOBODY
    pairs = list(zip(people[known].tolist(), clusters[known].tolist(), strict=True))
    both = Counter(pairs)
    of_person = Counter(person for person, _ in pairs)
    of_cluster = Counter(number for _, number in pairs)
    count = len(pairs)
    same = sum(n * n for n in both.values()) - count
    return Judgement(
        precision=sum(n * n / of_cluster[number] for (_, number), n in both.items()) / count,
        recall=sum(n * n / of_person[person] for (person, _), n in both.items()) / count,
        pair_precision=same / max(sum(n * n for n in of_cluster.values()) - count, 1),
        pair_recall=same / max(sum(n * n for n in of_person.values()) - count, 1),
    )


def eights(count: int) -> Ints:
    return np.arange(count) // FACES_A_PERSON


def family(count: int) -> Ints:
    return np.where(np.arange(count) < count // 2, np.arange(count) % FAMILY, np.arange(count))


KINDS: Final[dict[str, Callable[[int], Ints]]] = {"eights": eights, "family": family}


def made_up(people: Ints, seed: int = 1) -> Faces:
    """Faces of given people, one a photo, in an order of chance."""
    population = FaceLike(128, seed)
    chance = np.random.default_rng(seed)
    people = chance.permutation(people)
    names, numbers = np.unique(people, return_inverse=True)
    own = chance.standard_normal((len(names), 128), np.float32)
    codes = [
        _core.quantize(population._pictures(chance, own[numbers[start : start + _PART]]))
        for start in range(0, len(people), _PART)
    ]
    return Faces(np.concatenate(codes), np.arange(len(people)), people)


def _print_scale(count: int, kinds: list[str], threshold: float) -> None:
    sys.stdout.write(
        "| faces | people | s | peak MiB | B-cubed precision | recall"
        " | the same, of people found with 3 faces or more |\n|---|---|---|---|---|---|---|\n"
    )
    for kind in kinds:
        faces = made_up(KINDS[kind](count))
        started = time.perf_counter()
        found = by_facegrep(faces, threshold)
        took_s = time.perf_counter() - started
        said = judge(faces.people, found)
        sizes = np.bincount(found, minlength=len(found))
        large = np.where(sizes[found] >= 3, found, NOBODY)
        certain = judge(np.where(large == NOBODY, NOBODY, faces.people), large)
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        sys.stdout.write(
            f"| {count:,} | {len(np.unique(faces.people)):,} ({kind}) | {took_s:.0f} | {peak_mib}"
            f" | {said.precision:.4f} | {said.recall:.4f} | {certain.precision:.4f} |\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
