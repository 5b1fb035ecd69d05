"""How much more of a person three photos find than one, on photos sorted into folders.

    python -m benches.fusion_lfw FOLDER

FOLDER holds one folder a person with that person's photos, such as Labeled Faces in the Wild. Of
each person with four photos or more three are drawn; what is searched is everybody's other photos.
A way to query is compared with another at the threshold at which it finds as many photos of other
people. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benches.accuracy_lfw import Gallery, analyse, int8_codes, media_scores
from facegrep.engine._fusion import fuse, quality_of
from facegrep.vision import FaceAnalyzer

PHOTOS: Final = 3
FALSE_MATCHES: Final = (0.01, 0.1, 1.0)
"""Photos of other people that a query finds, on average."""

Qualities = Callable[[NDArray[np.float32]], NDArray[np.float64]]
WAYS: Final[dict[str, Qualities | None]] = {
    "one photo": None,
    f"{PHOTOS} photos, all alike": lambda values: np.ones(len(values)),
    f"{PHOTOS} photos, by the detector's score": lambda values: values[:, 4].astype(np.float64),
    f"{PHOTOS} photos, by quality (facegrep)": lambda values: quality_of(values, len(values)),
}


class Drawn(NamedTuple):
    """A person, and the queries (by number) that stand for them."""

    person: int
    queries: NDArray[np.intp]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, default=10, help="how often photos are drawn")
    options = parser.parse_args(arguments)
    photos = sorted(path for path in options.folder.glob("*/*") if path.suffix.lower() == ".jpg")
    if not photos:
        parser.error(f"{options.folder}: expected <person>/<photo>.jpg below it")
    gallery = analyse(FaceAnalyzer("sface"), photos, Console(stderr=True))
    lines = [
        ("query", *(f"recall at {rate:g} false matches a query" for rate in FALSE_MATCHES)),
        ("---",) * (1 + len(FALSE_MATCHES)),
    ]
    for name, qualities in WAYS.items():
        genuine, impostor, queries = pooled(gallery, qualities, options.draws)
        recalls = [recall_at(genuine, impostor, rate * queries) for rate in FALSE_MATCHES]
        lines.append((name, *(f"{recall:.4f}" for recall in recalls)))
    sys.stdout.write("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    return 0


def draw(gallery: Gallery, seed: int) -> Iterator[Drawn]:
    """Draw the photos that stand for each person who has one more."""
    chance = np.random.default_rng(seed)
    person_of_query = gallery.person_of_photo[gallery.photo_of_query]
    for person in np.unique(person_of_query):
        own = np.flatnonzero(person_of_query == person)
        if len(own) > PHOTOS:
            yield Drawn(int(person), chance.choice(own, PHOTOS, replace=False))


def pooled(
    gallery: Gallery, qualities: Qualities | None, draws: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Return the scores of a person's other photos, those of other people's, and the queries."""
    genuine, impostor, queries = [], [], 0
    stored = int8_codes(gallery.faces)
    for seed in range(draws):
        drawn = list(draw(gallery, seed))
        taken = gallery.photo_of_query[np.concatenate([one.queries for one in drawn])]
        vectors, people = [], []
        for one in drawn:
            embeddings = gallery.queries[one.queries]
            if qualities is None:
                vectors += list(embeddings)
                people += [one.person] * PHOTOS
                continue
            fused = fuse(embeddings, qualities(gallery.values_of_query[one.queries]))
            if fused is not None:
                vectors.append(fused.embedding)
                people.append(one.person)
        scores = media_scores(gallery, stored, np.stack(vectors))
        searched = np.setdiff1d(np.arange(len(gallery.person_of_photo)), taken)
        same = gallery.person_of_photo[searched] == np.array(people)[:, None]
        genuine.append(scores[:, searched][same])
        impostor.append(scores[:, searched][~same])
        queries += len(people)
    return np.concatenate(genuine), np.concatenate(impostor), queries


def recall_at(
    genuine: NDArray[np.float64], impostor: NDArray[np.float64], false_matches: float
) -> float:
    """Return the recall at the threshold that lets so many impostors pass."""
    count = round(false_matches)
    threshold = np.partition(impostor, len(impostor) - count - 1)[len(impostor) - count - 1]
    return float((genuine > threshold).mean())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
