"""How well the whole way from pixels to hits recognises people, on photos sorted into folders.

    python benches/accuracy_lfw.py FOLDER

FOLDER holds one folder a person with that person's photos, such as Labeled Faces in the Wild. Every
photo is searched once among all others: the query is its largest face, an asset's score its best
face's, as in the engine. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from facegrep.engine._items import face_values
from facegrep.vision import Analysis, FaceAnalyzer, Precision

F32 = NDArray[np.float32]
_CHUNK = 64


class Gallery(NamedTuple):
    """Every face of every photo, and which photo (and person) it is of.

    Of the queries also what is known of each beside its embedding, as the store keeps it.
    """

    faces: F32
    photo_of_face: NDArray[np.intp]
    queries: F32
    photo_of_query: NDArray[np.intp]
    values_of_query: F32
    person_of_photo: NDArray[np.intp]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="sface")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    precisions = get_args(Precision)
    parser.add_argument("--precision", nargs="*", default=precisions, choices=precisions)
    parser.add_argument("--threshold", nargs="*", type=float, default=[0.35, 0.42, 0.48, 0.55])
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    photos = sorted(path for path in options.folder.glob("*/*") if path.suffix.lower() == ".jpg")
    if not photos:
        parser.error(f"{options.folder}: expected <person>/<photo>.jpg below it")
    rows_rank, rows_threshold = [], []
    for precision in options.precision:
        analyzer = FaceAnalyzer(options.model, device=options.device, precision=precision)
        started = time.perf_counter()
        gallery = analyse(analyzer, photos, console)
        seconds = time.perf_counter() - started
        for stored, name in ((gallery.faces, "float32"), (int8_codes(gallery.faces), "int8")):
            scores = leave_one_out_scores(gallery, stored)
            rank_1 = leave_one_out_rank_1(gallery, scores)
            rows_rank.append((precision, name, f"{rank_1:.4f}"))
        # From here on `scores` are those of the int8 codes, which is what a library searches.
        for threshold in options.threshold:
            precision_, recall = precision_and_recall(gallery, scores, threshold)
            rows_threshold.append(
                (precision, f"{threshold:.2f}", f"{precision_:.4f}", f"{recall:.4f}")
            )
        console.print(
            f"{options.model} {precision} on {analyzer.provider}: {len(photos)} photos, "
            f"{len(gallery.faces)} faces, {len(photos) - len(gallery.queries)} photos without a "
            f"face, {len(photos) / seconds:.0f} photos/s"
        )
    _print_table(("network", "stored as", "rank-1, leave one out"), rows_rank)
    _print_table(("network", "threshold", "precision", "recall"), rows_threshold)
    return 0


def int8_codes(vectors: F32) -> F32:
    """Return the codes a library stores, as floats: scale 127 / max|x|, rounded half to even."""
    scale: F32 = np.float32(127) / np.abs(vectors).max(axis=1, keepdims=True)
    return np.asarray(np.rint(vectors * scale), np.float32)


def media_scores(gallery: Gallery, stored: F32, queries: F32) -> NDArray[np.float64]:
    """Return the score of every photo (columns) for every query (rows)."""
    stored64, queries64 = stored.astype(np.float64), queries.astype(np.float64)
    stored64 /= np.linalg.norm(stored64, axis=1, keepdims=True)
    queries64 /= np.linalg.norm(queries64, axis=1, keepdims=True)
    scores = np.full((len(queries), len(gallery.person_of_photo)), -2.0)
    for photo, of_face in zip(gallery.photo_of_face, stored64 @ queries64.T, strict=True):
        np.maximum(scores[:, photo], of_face, out=scores[:, photo])
    return scores


def leave_one_out_scores(gallery: Gallery, stored: F32) -> NDArray[np.float64]:
    """Return `media_scores` of every photo as a query; the query's own is -2."""
    scores = media_scores(gallery, stored, gallery.queries)
    scores[np.arange(len(scores)), gallery.photo_of_query] = -2.0
    return scores


def leave_one_out_rank_1(gallery: Gallery, scores: NDArray[np.float64]) -> float:
    """Return the share of queries whose best photo shows the same person."""
    best = gallery.person_of_photo[scores.argmax(axis=1)]
    return float((best == gallery.person_of_photo[gallery.photo_of_query]).mean())


def precision_and_recall(
    gallery: Gallery, scores: NDArray[np.float64], threshold: float
) -> tuple[float, float]:
    """Return both over all returned photos of all queries."""
    returned = scores >= threshold
    own = gallery.person_of_photo[gallery.photo_of_query]
    relevant = own[:, None] == gallery.person_of_photo
    relevant[np.arange(len(own)), gallery.photo_of_query] = False
    hits = int((returned & relevant).sum())
    return hits / max(1, int(returned.sum())), hits / int(relevant.sum())


def analyse(analyzer: FaceAnalyzer, photos: list[Path], console: Console) -> Gallery:
    """Find and embed the faces of all photos."""
    analyses: list[Analysis] = []
    chunks = [photos[start : start + _CHUNK] for start in range(0, len(photos), _CHUNK)]
    label = f"{analyzer.precision} faces"
    for chunk in track(chunks, label, console=console, transient=True):
        pictures = [np.asarray(Image.open(path).convert("RGB")) for path in chunk]
        analyses += analyzer.analyze(pictures)
    people = {name: number for number, name in enumerate({path.parent.name: 0 for path in photos})}
    with_face = [number for number, analysis in enumerate(analyses) if analysis.faces]
    return Gallery(
        faces=np.stack([face.embedding for analysis in analyses for face in analysis.faces]),
        photo_of_face=np.repeat(np.arange(len(photos)), [len(found.faces) for found in analyses]),
        queries=np.stack([analyses[number].faces[0].embedding for number in with_face]),
        photo_of_query=np.array(with_face),
        values_of_query=np.stack([face_values(analyses[number].faces[0]) for number in with_face]),
        person_of_photo=np.array([people[path.parent.name] for path in photos]),
    )


def _print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    lines = [header, tuple("---" for _ in header), *rows]
    sys.stdout.write("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
