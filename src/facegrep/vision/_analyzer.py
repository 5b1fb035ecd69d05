"""Pictures in, faces with embeddings out."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from facegrep._errors import InvalidArgumentError, ModelError
from facegrep._stages import stage
from facegrep.vision._align import align
from facegrep.vision._detector import Detector
from facegrep.vision._embedder import Embedder
from facegrep.vision._faces import Analysis, Detections, Face, RefusedFace
from facegrep.vision._graphs import Precision
from facegrep.vision._manifest import DetectorManifest, EmbedderManifest, load_manifest
from facegrep.vision._quality import assess
from facegrep.vision._runtime import CPU, Device, available_cores

Pixels = NDArray[np.uint8]
_T = TypeVar("_T")
_R = TypeVar("_R")

# A GPU is filled by one large batch; a core by one picture (larger batches leave its cache).
_CUDA_DETECT_BATCH, _CUDA_EMBED_BATCH = 16, 128


class FaceAnalyzer:
    """Finds, aligns and embeds faces.

    Parameters
    ----------
    model
        An embedder's name or id; its manifest names the detector.
    device
        ``"cpu"``, ``"cuda"``, or ``"auto"``: CUDA where it works. See `provider` for which it was.
    precision
        ``"fp32"``, or ``"int8"`` for the uint8 graph (CPU only). Embeddings of both compare.
    threads
        How many share out the pictures of all callers, by default a core each that this process may
        run on. A call with one picture runs in the caller's thread.

    Attributes
    ----------
    model_id, dim, threshold_floor
        From the manifest. Vectors of different ids do not compare.
    precision
        As asked for.
    provider
        The provider that runs the embedder, as its session says: ``"CPUExecutionProvider"``, ...
    threads
        As given, or how many cores there were.
    detect_batch, embed_batch
        How many pictures, and crops, the networks take at once. Calls with no more of them than
        that run in the caller's thread.
    detector_long_side_px
        Larger pictures are shrunk to this before faces are looked for.

    Raises
    ------
    InvalidArgumentError
        An argument is not one of those above.
    ModelError
        Weights or onnxruntime are missing or damaged.
    DeviceUnavailableError
        ``device="cuda"`` and there is none; never a silent run on the CPU.

    Notes
    -----
    Thread-safe. On the CPU, results do not depend on what else is in a batch, bit for bit. Nothing
    is downloaded; the first use on a machine folds the weights (0.7 s) into the cache folder. One
    that was made before a fork works after it, on the CPU.
    """

    def __init__(
        self,
        model: str = "sface",
        *,
        device: Device = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
    ) -> None:
        if precision not in ("fp32", "int8"):
            raise InvalidArgumentError(f"precision: expected 'fp32' or 'int8', got {precision!r}")
        if precision == "int8":
            if device == "cuda":
                raise InvalidArgumentError("precision 'int8' runs on the CPU only; use 'fp32'")
            device = "cpu"
        _require_threads(threads)
        found = load_manifest(model)
        if not isinstance(found.manifest, EmbedderManifest):
            raise InvalidArgumentError(f"model {model!r} finds faces but does not embed them")
        detector = load_manifest(found.manifest.detector)
        if not isinstance(detector.manifest, DetectorManifest):
            raise ModelError(
                f"model {model!r} names {detector.name!r} as its detector, which is none; correct "
                f"{found.folder / 'manifest.toml'}"
            )
        self.model_id: str = found.manifest.id
        self.dim: int = found.manifest.dim
        self.threshold_floor: float = found.manifest.threshold_floor
        self.precision: Precision = precision
        self._crop = found.manifest.crop
        self._limits = found.manifest.quality
        self._embedder = Embedder(found, found.manifest, precision, device)
        self._detector = Detector(detector, detector.manifest, device)
        self.provider: str = self._embedder.provider
        self.detector_long_side_px: int = detector.manifest.detection.long_side_px
        self.detect_batch: int = 1 if self._detector.provider == CPU else _CUDA_DETECT_BATCH
        self.embed_batch: int = 1 if self.provider == CPU else _CUDA_EMBED_BATCH
        self.threads: int = threads or available_cores()
        self._start_workers()

    def analyze(self, pictures: Sequence[Pixels]) -> list[Analysis]:
        """Find and embed the faces of RGB pictures.

        Parameters
        ----------
        pictures
            uint8 (h, w, 3) each, of any sizes.

        Returns
        -------
        analyses
            One a picture, in order.

        Raises
        ------
        InvalidArgumentError
            A picture has another dtype or shape.
        """
        with stage("detect"):
            detections = self.detect(pictures)
        with stage("embed"):
            crops = self._map(
                lambda pair: [align(pair[0], face.landmarks, self._crop) for face in pair[1].faces],
                list(zip(pictures, detections, strict=True)),
            )
            embeddings, valid = self._embed([crop for some in crops for crop in some])
        analyses, row = [], 0
        for found, cut in zip(detections, crops, strict=True):
            faces, refused = [], list(found.refused)
            for face, crop in zip(found.faces, cut, strict=True):
                if valid[row]:
                    quality = assess(face, crop, self._limits) if self._limits else None
                    faces.append(
                        Face(face.box, face.score, face.landmarks, embeddings[row], quality)
                    )
                else:
                    reason = "the model gave no finite embedding"
                    refused.append(RefusedFace(face.box, face.score, reason))
                row += 1
            analyses.append(Analysis(tuple(faces), tuple(refused)))
        return analyses

    def detect(
        self,
        pictures: Sequence[Pixels],
        *,
        sizes_px: Sequence[tuple[int, int]] | None = None,
        second_look: bool = True,
    ) -> list[Detections]:
        """Find the faces of RGB pictures, without embedding them: the first stage of `analyze`.

        Parameters
        ----------
        pictures
            uint8 (h, w, 3) each.
        sizes_px
            ``(width, height)`` each, where the pictures are copies reduced from these sizes: faces
            are measured, and their boxes and landmarks given, in px of the larger ones.
        second_look
            Whether to look again, with a frame around it, at a picture that shows no face or one
            that fills it: such a look takes as long as the first.
        """
        for index, picture in enumerate(pictures):
            _require_picture(picture, f"pictures[{index}]")
        if sizes_px is None:
            sizes_px = [(picture.shape[1], picture.shape[0]) for picture in pictures]
        canvases = self._map(
            lambda pair: self._detector.canvas(*pair), list(zip(pictures, sizes_px, strict=True))
        )
        sizes = defaultdict(list)
        for index, canvas in enumerate(canvases):
            sizes[canvas.pixels.shape].append(index)
        batches = [batch for same in sizes.values() for batch in _cut(same, self.detect_batch)]
        found = self._map(
            lambda batch: self._detector.find(
                [pictures[index] for index in batch],
                [canvases[index] for index in batch],
                second_look=second_look,
            ),
            batches,
        )
        by_index = {
            index: detections
            for batch, some in zip(batches, found, strict=True)
            for index, detections in zip(batch, some, strict=True)
        }
        return [by_index[index] for index in range(len(pictures))]

    def align(self, picture: Pixels, detections: Detections) -> NDArray[np.uint8]:
        """Cut the kept faces of one picture out: uint8 (n, side, side, 3), the second stage."""
        _require_picture(picture, "picture")
        crops = [align(picture, face.landmarks, self._crop) for face in detections.faces]
        return np.stack(crops) if crops else np.empty((0, *self._embedder.crop_shape), np.uint8)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed aligned RGB crops (n, side, side, 3), the third stage.

        Returns
        -------
        embeddings
            float32 (n, dim), rows of length 1.

        Raises
        ------
        InvalidArgumentError
            Crops of another shape or dtype.
        ModelError
            The model gave no finite embedding of a crop; nothing non-finite is ever returned.
        """
        if not isinstance(crops, np.ndarray):
            raise InvalidArgumentError(f"crops: expected an array, got {type(crops).__name__}")
        if crops.dtype != np.uint8 or crops.shape[1:] != self._embedder.crop_shape:
            raise InvalidArgumentError(
                f"crops: expected uint8 {('n', *self._embedder.crop_shape)}, got {crops.dtype} "
                f"{crops.shape}"
            )
        embeddings, valid = self._embed(list(crops))
        if not valid.all():
            raise ModelError(f"crop {int(np.argmin(valid))}: the model gave no finite embedding")
        return embeddings

    def _embed(
        self, crops: Sequence[NDArray[np.uint8]]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if not crops:
            return np.empty((0, self.dim), np.float32), np.empty(0, bool)
        batches = _cut(crops, self.embed_batch)
        parts = self._map(lambda batch: self._embedder.embed(np.stack(batch)), batches)
        embeddings, valid = zip(*parts, strict=True)
        return np.concatenate(embeddings), np.concatenate(valid)

    def _map(self, function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
        """Apply a function on the workers; results in order."""
        if len(items) == 1:  # nothing to share out, and a query saves the hop
            return [function(items[0])]
        if self._workers_pid != os.getpid():  # no thread outlives a fork: they would never answer
            self._start_workers()
        return list(self._workers.map(function, items))

    def _start_workers(self) -> None:
        self._workers = ThreadPoolExecutor(self.threads, "facegrep-vision")
        self._workers_pid = os.getpid()


def _require_threads(threads: object) -> None:
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise InvalidArgumentError(f"threads: expected an int from 1, got {threads!r:.80}")


def _require_picture(picture: Pixels, name: str) -> None:
    if not isinstance(picture, np.ndarray):
        raise InvalidArgumentError(f"{name}: expected an array, got {type(picture).__name__}")
    if (
        picture.dtype != np.uint8
        or picture.ndim != 3
        or picture.shape[2] != 3
        or 0 in picture.shape
    ):
        raise InvalidArgumentError(
            f"{name}: expected uint8 (h, w, 3) of at least one pixel, got {picture.dtype} "
            f"{picture.shape}"
        )


def _cut(items: Sequence[_T], length: int) -> list[Sequence[_T]]:
    return [items[start : start + length] for start in range(0, len(items), length)]
