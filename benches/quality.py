"""Up to where a face is good enough to search with: what made the table [quality] of a manifest.

    python -m benches.quality FOLDER

FOLDER holds one folder a person with that person's photos, such as Labeled Faces in the Wild. One
photo of each person is blurred, shrunk and tilted on purpose, and searched with among the person's
other photos and everybody else's. Every photo must have a face. Prints Markdown: how many of the
person's photos are found at the model's floor, what the verdict was, and where each measure falls
below nine in ten.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from rich.console import Console
from rich.progress import track

from benches.calibrate import Faces, embed, print_table, search_scores
from benches.calibration import rising
from facegrep.vision import Face, FaceAnalyzer, FoundFace, Quality, Verdict, load_manifest

FOUND_AT_LEAST: Final = 0.9
_CHUNK = 50


class Query(NamedTuple):
    """A face, whose it is, and the shares of the person's and of others' photos at the floor."""

    face: Face
    found: float
    false: float


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="sface")
    parser.add_argument("--people", type=int, help="of how many (default: all)")
    options = parser.parse_args(arguments)
    photos = sorted(path for path in options.folder.glob("*/*") if path.suffix.lower() == ".jpg")
    if not photos:
        parser.error(f"{options.folder}: expected <person>/<photo>.jpg below it")
    model = load_manifest(options.model)
    library = embed(model, "fp32", photos)
    analyzer = FaceAnalyzer(options.model, device="cpu")
    console = Console(stderr=True)
    by_level = {
        name: list(_search(analyzer, library, photos, spoil, options.people))
        for name, spoil in track(LEVELS.items(), "spoilt", console=console, transient=True)
    }
    queries = list(_search(analyzer, library, photos, None, options.people))
    by_level = {"every photo, as it is": queries, **by_level}
    print_table(
        ("photos", "faces", "found", "false matches", *(verdict.value for verdict in Verdict)),
        (_level(name, some) for name, some in by_level.items()),
    )
    spoilt = {
        kind: [*queries, *(query for name in by_level if kind in name for query in by_level[name])]
        for kind in ("blur", "face", "tilt")
    }
    limits = (
        ("side_px", _crossing(spoilt["face"], lambda face: _quality(face).side_px)),
        ("sharpness", _crossing(spoilt["blur"], lambda face: _quality(face).sharpness or 0.0)),
        ("detector's score", _crossing(spoilt["tilt"], lambda face: face.score)),
        ("yaw_deg", -_crossing(queries, lambda face: -abs(_quality(face).yaw_deg))),
    )
    print_table(
        ("measure", f"where fewer than {FOUND_AT_LEAST:.0%} are found"),
        ((name, f"{value:.3g}") for name, value in limits),
    )
    rolls = np.abs([_quality(query.face).roll_deg for query in queries])
    least = np.quantile(rolls, 0.999)
    sys.stdout.write(f"roll_deg of 99.9 % of the photos as they are: at most {least:.1f}\n")
    return 0


def _blur(sigma_px: float) -> Callable[[Image.Image, FoundFace], Image.Image]:
    return lambda picture, _: picture.filter(ImageFilter.GaussianBlur(sigma_px))


def _shrink(side_px: int) -> Callable[[Image.Image, FoundFace], Image.Image]:
    def shrink(picture: Image.Image, face: FoundFace) -> Image.Image:
        scale = side_px / min(face.box.width, face.box.height)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        return picture.resize(size, Image.Resampling.LANCZOS)

    return shrink


def _tilt(degrees: float) -> Callable[[Image.Image, FoundFace], Image.Image]:
    return lambda picture, _: picture.rotate(degrees, Image.Resampling.BILINEAR)


LEVELS: Final = {
    **{f"blur of {sigma} px": _blur(sigma) for sigma in (1, 1.5, 2, 3, 4)},
    **{f"face of {side} px": _shrink(side) for side in (21, 24, 30, 40)},
    **{f"tilt of {degrees} degrees": _tilt(degrees) for degrees in (15, 30, -30, 45)},
}


def _search(
    analyzer: FaceAnalyzer,
    library: Faces,
    photos: list[Path],
    spoil: Callable[[Image.Image, FoundFace], Image.Image] | None,
    people: int | None,
) -> Iterator[Query]:
    """Search with every photo of some people as it is, or with the first one, spoilt."""
    firsts = np.unique(library.people, return_index=True)[1][:people].tolist()
    chosen = firsts if spoil else np.flatnonzero(library.people < len(firsts)).tolist()
    for start in range(0, len(chosen), _CHUNK):
        rows = chosen[start : start + _CHUNK]
        pictures = [Image.open(photos[row]).convert("RGB") for row in rows]
        if spoil is not None:
            whole = analyzer.detect([np.asarray(picture) for picture in pictures])
            pairs = zip(pictures, whole, strict=True)
            pictures = [spoil(picture, found.faces[0]) for picture, found in pairs]
        analyses = analyzer.analyze([np.asarray(picture) for picture in pictures])
        for row, analysis in zip(rows, analyses, strict=True):
            for face in analysis.faces[:1]:
                yield _query(face, row, library, analyzer.threshold_floor)


def _query(face: Face, row: int, library: Faces, floor: float) -> Query:
    scores = search_scores(Faces(face.embedding[None], library.people[row : row + 1]), library)[0]
    same = library.people == library.people[row]
    same[row] = False
    others = library.people != library.people[row]
    found, false = (scores[same] >= floor).mean(), (scores[others] >= floor).mean()
    return Query(face, float(found), float(false))


def _level(name: str, queries: list[Query]) -> tuple[str, ...]:
    verdicts = [_quality(query.face).verdict for query in queries]
    return (
        name,
        str(len(queries)),
        f"{np.mean([query.found for query in queries]):.3f}",
        f"{np.mean([query.false for query in queries]):.1e}",
        *(f"{np.mean([own == verdict for own in verdicts]):.0%}" for verdict in Verdict),
    )


def _crossing(queries: list[Query], measure: Callable[[Face], float]) -> float:
    """Return the value above which, smoothed to rise, enough are found."""
    values = np.array([measure(query.face) for query in queries])
    order = np.argsort(values)
    found: NDArray[np.float64] = np.array([query.found for query in queries])[order]
    return float(values[order][np.argmax(rising(found, np.ones(len(found))) >= FOUND_AT_LEAST)])


def _quality(face: Face) -> Quality:
    if face.quality is None:
        raise SystemExit("this model's manifest has no table [quality]: give it any, to begin with")
    return face.quality


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
