"""What a model is: the manifests under ``models/``, read strictly.

A model is a folder ``<name>/manifest.toml``. The folders that ``FACEGREP_MODELS`` lists (separated
by ``os.pathsep``) are searched before the one that facegrep brings.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import msgspec

from facegrep._errors import ModelError
from facegrep.vision._calibration import Calibration
from facegrep.vision._strict import Strict

MANIFEST_MAX_BYTES = 64 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

_Positive = Annotated[int, msgspec.Meta(gt=0, le=1 << 16)]
_Fraction = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
_Degrees = Annotated[float, msgspec.Meta(gt=0.0, le=180.0)]
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
# \Z: a $ would let a line feed follow.
_Id = Annotated[str, msgspec.Meta(pattern=rf"^{_NAME.pattern}\Z")]
_Pinned = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+\Z")]
_Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Point = tuple[float, float]


class Weights(Strict, frozen=True):
    """The file that holds the weights: in a carrier package, else in the model's folder."""

    file: _Word
    size_bytes: Annotated[int, msgspec.Meta(gt=0, le=1 << 31)]
    sha256: _Sha256
    licence: _Word
    carrier: _Pinned | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_plain_path(self.file)


class Input(Strict, frozen=True):
    """What the graph is fed: float32 NCHW, ``(value - mean) * scale`` of bytes 0..255."""

    name: _Word
    channels: Literal["rgb", "bgr"]
    mean: float
    scale: float


class Output(Strict, frozen=True):
    """The graph's output that holds the embeddings, float32 (n, dim)."""

    name: _Word


class Detection(Strict, frozen=True):
    """How pictures are shown to the detector, and which of its boxes count."""

    decoder: Literal["yunet"]
    long_side_px: Annotated[int, msgspec.Meta(ge=64, le=4096, multiple_of=32)]
    score_min: _Fraction
    nms_iou: _Fraction
    face_side_min_px: _Positive


class Crop(Strict, frozen=True):
    """The aligned face: a square, and where the five landmarks lie in it."""

    side_px: Annotated[int, msgspec.Meta(ge=16, le=1024)]
    landmarks_px: tuple[_Point, _Point, _Point, _Point, _Point]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 <= value <= self.side_px for point in self.landmarks_px for value in point):
            raise ValueError("landmarks_px must lie inside the crop")
        if len(set(self.landmarks_px)) < len(self.landmarks_px):
            raise ValueError("landmarks_px must be five different points")


class Int8(Strict, frozen=True):
    """What the uint8 graph needs: a JSON file of ``{convolution: [low, high]}``."""

    activation_ranges: _Word

    def __post_init__(self) -> None:
        _require_plain_path(self.activation_ranges)


class QualityLimits(Strict, frozen=True):
    """Up to where a face is good enough to search with; `facegrep.vision._quality` has the units.

    Beyond it, one photo of the person in ten or more is missed at `threshold_floor`.
    """

    side_min_px: _Positive
    sharpness_min: _Fraction
    yaw_max_deg: _Degrees
    roll_max_deg: _Degrees
    detector_score_min: _Fraction


class Manifest(Strict, frozen=True):
    """What every model states. ``id`` is what a library remembers; ``name`` is the folder."""

    format: Literal[1]
    id: _Id
    weights: Weights
    input: Input


class DetectorManifest(Manifest, frozen=True, tag_field="kind", tag="detector"):
    """A model that finds faces."""

    detection: Detection


class EmbedderManifest(Manifest, frozen=True, tag_field="kind", tag="embedder"):
    """A model that turns an aligned face into an embedding."""

    detector: _Id
    dim: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    threshold_floor: Annotated[float, msgspec.Meta(ge=-1.0, le=1.0)]
    output: Output
    crop: Crop
    int8: Int8 | None = None
    quality: QualityLimits | None = None
    calibration: Calibration | None = None


class Model(msgspec.Struct, frozen=True):
    """A manifest and the folder it was read from."""

    name: str
    folder: Path
    manifest: DetectorManifest | EmbedderManifest


def model_folders() -> list[Path]:
    """Return the folders that may hold models, best first."""
    entries = os.environ.get("FACEGREP_MODELS", "").split(os.pathsep)
    added = [Path(entry) for entry in entries if entry]
    here = Path(__file__)
    # Installed: facegrep/models. In the source tree: models/ beside src/.
    places = (here.parents[1] / "models", here.parents[3] / "models")
    own = next((place for place in places if place.is_dir()), None)
    return [*added, *([own] if own else [])]


def load_manifest(name: str) -> Model:
    """Read the manifest of a model.

    Parameters
    ----------
    name
        The model's folder (``"sface"``) or the id in its manifest (``"sface-2021dec"``).

    Raises
    ------
    ModelError
        There is no such model, or its manifest is not valid; the message names the file.
    """
    if _NAME.fullmatch(name):
        for folder in model_folders():
            if (folder / name / "manifest.toml").is_file():
                return _read(folder / name)
        for model in manifests().values():
            if model.manifest.id == name:
                return model
    known = ", ".join(sorted(manifests())) or "none"
    folders = os.pathsep.join(map(str, model_folders()))
    raise ModelError(
        f"no model {name!r} (known: {known}); expected a folder of that name with a manifest.toml "
        f"in {folders}; FACEGREP_MODELS adds folders"
    )


def manifests() -> dict[str, Model]:
    """Read every model's manifest, by name.

    Raises
    ------
    ModelError
        A manifest is not valid, or two models have one id.
    """
    found: dict[str, Model] = {}
    for folder in model_folders():
        for path in sorted(folder.glob("*/manifest.toml")):
            name = path.parent.name
            if name not in found and _NAME.fullmatch(name) and path.is_file():
                found[name] = _read(path.parent)
    owner: dict[str, str] = {}
    for name, model in found.items():
        other = owner.setdefault(model.manifest.id, name)
        if other != name:
            raise ModelError(
                f"models {other!r} and {name!r} both have the id {model.manifest.id!r}; give "
                f"{model.folder / 'manifest.toml'} an id of its own"
            )
    return found


# Has msgspec look at the types now; threads that first convert to them at once would crash.
msgspec.json.Decoder(DetectorManifest | EmbedderManifest)


def _read(folder: Path) -> Model:
    path = folder / "manifest.toml"
    try:
        with path.open("rb") as file:
            content = file.read(MANIFEST_MAX_BYTES + 1)
        if len(content) > MANIFEST_MAX_BYTES:
            raise ModelError(f"{path}: expected at most {MANIFEST_MAX_BYTES} bytes of manifest")
        table = tomllib.loads(content.decode())
        manifest = msgspec.convert(table, DetectorManifest | EmbedderManifest)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    # RecursionError: tomllib on thousands of nested brackets.
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a valid manifest: {error}; see models/README.md") from error
    return Model(folder.name, folder, manifest)


def _require_plain_path(path: str) -> None:
    """Refuse what would leave the folder or package that a path is relative to."""
    if PurePosixPath(path).is_absolute() or ".." in path.split("/") or "\\" in path or ":" in path:
        raise ValueError(f"expected a relative path without '..', got {path!r}")
    if not path.isprintable() or not PurePosixPath(path).name:
        raise ValueError(f"expected a printable path of a file, got {path!r}")
