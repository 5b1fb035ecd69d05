"""What a model's scores mean: makes the table [calibration] of its manifest, and checks it.

    python -m benches.calibrate FOLDER                 # print it, and how well it holds
    python -m benches.calibrate FOLDER --write         # put it into the manifest as well

FOLDER holds one folder a person with that person's photos, such as Labeled Faces in the Wild. A
score is that of a search: the float32 embedding of one photo's largest face with the int8 code of
another's. What is checked is checked on people whom the calibration has not seen. Prints Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from benches.calibration import F64, calibrate, fit_tail
from facegrep.vision import (
    Calibration,
    EmbedderManifest,
    FaceAnalyzer,
    Model,
    Precision,
    load_manifest,
)

_CHUNK = 64
_GROUPS = 10
_CHECKED_RATES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)
_HEADLINE = "# What scores mean. Made by `python -m benches.calibrate FOLDER --write`."


class Faces(NamedTuple):
    """The largest face of each photo: float32 (n, dim), and whose it is, 0, 1, ..."""

    vectors: NDArray[np.float32]
    people: NDArray[np.intp]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="sface")
    parser.add_argument("--name", default="Labeled Faces in the Wild", help="what the photos are")
    parser.add_argument("--write", action="store_true", help="write the manifest")
    options = parser.parse_args(arguments)
    photos = sorted(path for path in options.folder.glob("*/*") if path.suffix.lower() == ".jpg")
    if not photos:
        parser.error(f"{options.folder}: expected <person>/<photo>.jpg below it")
    model = load_manifest(options.model)
    faces = embed(model, "fp32", photos)
    count = len(np.unique(faces.people))
    data = f"{options.name}, {len(faces.people):,} photos of {count} people"
    scores = search_scores(faces, faces)
    genuine, impostor = pairs(scores, faces.people)
    table = calibrate(genuine, impostor, data)
    calibration = msgspec.convert(table, Calibration)
    sys.stdout.write(f"{to_toml(table)}\n")
    print_tables(model, calibration, faces, scores, photos)
    if options.write:
        write(model.folder / "manifest.toml", to_toml(table))
    return 0


def print_tables(
    model: Model, calibration: Calibration, faces: Faces, scores: F64, photos: list[Path]
) -> None:
    genuine, impostor = pairs(scores, faces.people)
    sys.stdout.write(f"{len(genuine):,} genuine and {len(impostor):,} impostor pairs\n\n")
    rates = [10.0**-power for power in range(2, 9)]
    print_table(
        ("false match rate", "threshold", "genuine pairs that reach it"),
        (
            (f"{rate:g}", f"{calibration.threshold_at(rate):.4f}", f"{share:.4f}")
            for rate in rates
            for share in [(genuine >= calibration.threshold_at(rate)).mean()]
        ),
    )
    sys.stdout.write("Each pair counted by a calibration that knew neither person:\n\n")
    print_table(
        ("false match rate", "expected", "counted", "counted / expected", "halves: least, most"),
        unseen(scores, faces.people),
    )
    sys.stdout.write("Probabilities, of pairs whose people were unknown, at equal odds:\n\n")
    print_table(("said", "on average", "was", "pairs"), reliability(scores, faces.people))
    rows = []
    manifest = model.manifest
    if isinstance(manifest, EmbedderManifest) and manifest.int8 is not None:
        coarse = embed(model, "int8", photos)
        rows.append(("query and library int8", pairs(search_scores(coarse, coarse), faces.people)))
        rows.append(("query int8, library fp32", pairs(search_scores(coarse, faces), faces.people)))
    rows += [(f"query of {count} photos fused", fused(faces, count)) for count in (2, 3)]
    sys.stdout.write("The same calibration, for other queries, counted / expected:\n\n")
    print_table(
        ("", "1e-2", "1e-3", "1e-4", "genuine at the threshold of 1e-4"),
        (
            (
                name,
                *(
                    f"{(others >= calibration.threshold_at(rate)).mean() / rate:.2f}"
                    for rate in (1e-2, 1e-3, 1e-4)
                ),
                f"{(own >= calibration.threshold_at(1e-4)).mean():.4f}",
            )
            for name, (own, others) in rows
        ),
    )


def embed(model: Model, precision: Precision, photos: list[Path]) -> Faces:
    """Embed the largest face of each photo that has one."""
    analyzer = FaceAnalyzer(model.name, device="cpu", precision=precision)
    vectors, owners = [], []
    chunks = [photos[start : start + _CHUNK] for start in range(0, len(photos), _CHUNK)]
    for chunk in track(chunks, precision, console=Console(stderr=True), transient=True):
        pictures = [np.asarray(Image.open(path).convert("RGB")) for path in chunk]
        for path, analysis in zip(chunk, analyzer.analyze(pictures), strict=True):
            vectors += [face.embedding for face in analysis.faces[:1]]
            owners += [path.parent.name] * len(analysis.faces[:1])
    return Faces(np.stack(vectors), np.unique(owners, return_inverse=True)[1])


def search_scores(queries: Faces, library: Faces) -> F64:
    """Return the cosine of every float32 query (rows) with every int8 code (columns)."""
    scale = np.float32(127) / np.abs(library.vectors).max(axis=1, keepdims=True)
    codes = np.rint(library.vectors * scale).astype(np.float64)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    vectors = queries.vectors.astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors @ codes.T)


def pairs(scores: F64, people: NDArray[np.intp]) -> tuple[F64, F64]:
    """Return the scores of the pairs of one person, and of two."""
    rows, columns = np.triu_indices(len(people), 1)
    same = people[rows] == people[columns]
    cosines = scores[rows, columns]
    return cosines[same], cosines[~same]


def fused(faces: Faces, photos_each: int) -> tuple[F64, F64]:
    """Return the scores of queries of some photos of a person, with each photo not in the query."""
    unit = faces.vectors / np.linalg.norm(faces.vectors, axis=1, keepdims=True)
    queries, owners, used = [], [], []
    for person in np.unique(faces.people):
        own = np.flatnonzero(faces.people == person)
        for start in range(0, len(own) - photos_each + 1, photos_each):
            used.append(own[start : start + photos_each])
            queries.append(unit[used[-1]].mean(axis=0))
            owners.append(person)
    scores = search_scores(Faces(np.array(queries, np.float32), np.array(owners)), faces)
    same = np.array(owners)[:, None] == faces.people
    in_query = np.zeros_like(same)
    for row, photos in enumerate(used):
        in_query[row, photos] = True
    return scores[same & ~in_query], scores[~same]


def unseen(scores: F64, people: NDArray[np.intp]) -> Iterator[tuple[str, ...]]:
    """Count false matches among people whom the fit has not seen.

    People are in ten groups; pairs between two groups are counted at the thresholds that the other
    eight give. For the last column they are halved at random, twenty times: one half fits, the
    pairs within the other are counted.
    """
    counted = np.zeros(len(_CHECKED_RATES))
    total = 0
    for expected, held_out in _groups(people):
        tail = fit_tail(_impostors(scores, people, expected))
        cosines = held_out(scores)
        total += len(cosines)
        counted += [(cosines >= tail.threshold(rate)).sum() for rate in _CHECKED_RATES]
    random = np.random.default_rng(2026)
    ratios = []
    for _ in range(20):
        first = np.isin(
            people, random.permutation(np.unique(people))[: len(np.unique(people)) // 2]
        )
        for seen in (first, ~first):
            tail = fit_tail(_impostors(scores, people, seen))
            others = _impostors(scores, people, ~seen)
            ratios.append(
                [(others >= tail.threshold(rate)).mean() / rate for rate in _CHECKED_RATES]
            )
    least, most = np.min(ratios, axis=0), np.max(ratios, axis=0)
    for index, rate in enumerate(_CHECKED_RATES):
        yield (
            f"{rate:g}",
            f"{rate * total:,.0f}",
            f"{counted[index]:,.0f}",
            f"{counted[index] / (rate * total):.2f}",
            f"{least[index]:.2f}, {most[index]:.2f}",
        )


def reliability(scores: F64, people: NDArray[np.intp]) -> Iterator[tuple[str, ...]]:
    """Compare probabilities with what was, of people whom the fit has not seen."""
    said: dict[bool, list[F64]] = {True: [], False: []}
    random = np.random.default_rng(2026)
    for part in np.array_split(random.permutation(np.unique(people)), _GROUPS):
        held_out = np.isin(people, part)
        seen = ~held_out
        own, others = pairs(scores[np.ix_(seen, seen)], people[seen])
        calibration = msgspec.convert(calibrate(own, others, "the others"), Calibration)
        for same, cosines in zip(
            (True, False),
            pairs(scores[np.ix_(held_out, held_out)], people[held_out]),
            strict=True,
        ):
            said[same].append(np.array([calibration.probability(cosine) for cosine in cosines]))
    genuine, impostor = np.concatenate(said[True]), np.concatenate(said[False])
    edges = [0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 1.01]
    for low, high in itertools.pairwise(edges):
        own = genuine[(genuine >= low) & (genuine < high)]
        others = impostor[(impostor >= low) & (impostor < high)]
        if not len(own) + len(others):
            continue
        # Both kinds count as if there were as many of them.
        weights = len(own) / len(genuine), len(others) / len(impostor)
        average = (own.sum() / len(genuine) + others.sum() / len(impostor)) / sum(weights)
        yield (
            f"{low:g} to {min(high, 1):g}",
            f"{average:.4f}",
            f"{weights[0] / sum(weights):.4f}",
            f"{len(own):,} genuine, {len(others):,} impostor",
        )


def _groups(
    people: NDArray[np.intp],
) -> Iterator[tuple[NDArray[np.bool_], Callable[[F64], F64]]]:
    """Yield who may be fitted on, and what takes the impostor pairs to be counted."""
    parts = np.array_split(np.random.default_rng(2026).permutation(np.unique(people)), _GROUPS)
    masks = [np.isin(people, part) for part in parts]
    for first in range(_GROUPS):
        for second in range(first, _GROUPS):
            a, b = masks[first], masks[second]

            def held_out(
                scores: F64,
                a: NDArray[np.bool_] = a,
                b: NDArray[np.bool_] = b,
                within: bool = first == second,
            ) -> F64:
                if within:
                    return _impostors(scores, people, a)
                return np.asarray(scores[np.ix_(a, b)].ravel())

            yield ~(a | b), held_out


def _impostors(scores: F64, people: NDArray[np.intp], chosen: NDArray[np.bool_]) -> F64:
    return pairs(scores[np.ix_(chosen, chosen)], people[chosen])[1]


def to_toml(table: dict[str, Any]) -> str:
    """Write the table as it stands in a manifest."""
    impostor = {key: value for key, value in table["impostor"].items() if key != "tail"}
    return "\n".join(
        [
            "[calibration]",
            f'data = "{table["data"]}"',
            f"genuine = {_inline(table['genuine'])}",
            f"impostor = {_inline(impostor)[:-2]}, tail = {_inline(table['impostor']['tail'])} }}",
            "# [false match rate, the cosine that this share of the pairs of two people reaches]",
            *_array("thresholds", table["thresholds"]),
            "# [cosine, log10 of the odds that it is one person, 1 : 1 before]",
            *_array("odds", table["odds"]),
        ]
    )


def _inline(table: dict[str, Any]) -> str:
    return f"{{ {', '.join(f'{key} = {value}' for key, value in table.items())} }}"


def _array(name: str, knots: Sequence[tuple[float, float]]) -> Iterator[str]:
    yield f"{name} = ["
    yield from (f"  [{first:g}, {second:g}]," for first, second in knots)
    yield "]"


def write(path: Path, table: str) -> None:
    """Put the table at the end of a manifest, in place of the one that was there."""
    before, _, old = path.read_text("utf-8").partition("\n[calibration]\n")
    other = re.search(r"^\[.*\Z", old, re.MULTILINE | re.DOTALL)
    kept = [before.removesuffix(_HEADLINE).strip(), other.group().strip() if other else ""]
    path.write_text("\n\n".join([*filter(None, kept), f"{_HEADLINE}\n{table}\n"]), "utf-8")


def print_table(header: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    lines = [tuple(header), tuple("---" for _ in header), *rows]
    sys.stdout.write("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
