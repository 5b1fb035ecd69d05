"""Aligned faces to embeddings of length 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facegrep._errors import InvalidArgumentError, ModelError
from facegrep.vision._graphs import Variant
from facegrep.vision._manifest import EmbedderManifest, Model
from facegrep.vision._network import Network
from facegrep.vision._runtime import Device


class Embedder:
    """An embedding model. Reentrant.

    Parameters
    ----------
    model, manifest
        What to load, and its `EmbedderManifest`.
    variant
        Which graph; ``"int8"`` only where the manifest has one.
    device
        See `FaceAnalyzer`.

    Raises
    ------
    ModelError
        The graph does not give (n, dim) for n crops as the manifest promises.
    """

    def __init__(
        self, model: Model, manifest: EmbedderManifest, variant: Variant, device: Device
    ) -> None:
        if variant == "int8" and manifest.int8 is None:
            raise InvalidArgumentError(
                f"precision: model {model.name!r} has no int8 graph; use 'fp32'"
            )
        self.manifest = manifest
        self._network = Network(model, variant, device, [manifest.output.name])
        self.provider = self._network.provider
        # Shapes are a promise of the manifest until a batch of two was seen to keep it.
        self.embed(np.zeros((2, *self.crop_shape), np.uint8))

    @property
    def crop_shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of a crop."""
        return (self.manifest.crop.side_px, self.manifest.crop.side_px, 3)

    def embed(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Embed RGB crops (n, side, side, 3).

        Returns
        -------
        embeddings
            float32 (n, dim), rows of length 1; zeros where the model gave no direction.
        valid
            (n,), which rows are embeddings.
        """
        raw = self._network.run(crops)[self.manifest.output.name]
        if raw.shape != (len(crops), self.manifest.dim) or raw.dtype != np.float32:
            raise ModelError(
                f"model {self._network.model.name!r}: expected embeddings float32 "
                f"{(len(crops), self.manifest.dim)}, got {raw.dtype} {raw.shape}; correct dim in "
                f"{self._network.model.folder / 'manifest.toml'}"
            )
        # In float64, where no square of a float32 overflows or vanishes.
        norms = np.linalg.norm(raw.astype(np.float64), axis=1)
        valid = np.isfinite(norms) & (norms > 0)
        rows = np.where(valid[:, None], raw, 0) / np.where(valid, norms, 1)[:, None]
        return rows.astype(np.float32), valid
