"""Exact face search: which of my media contain this person.

Three doors, each built on the one before:

- :class:`FaceIndex`: vectors in memory, searched natively and exactly. Needs numpy alone.
- :func:`open`: durable libraries of pictures or vectors (:class:`Engine`).
- :mod:`facegrep.ice`: the same, answering Alibaba Cloud ICE's actions.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from facegrep._errors import (
    AlreadyExistsError,
    DeviceUnavailableError,
    ErasePending,
    FacegrepError,
    ForkError,
    InvalidArgumentError,
    MasterKeyError,
    MissingExtraError,
    ModelError,
    ModelMismatchError,
    NoFaceError,
    NotFoundError,
    OperationDeniedError,
    PictureError,
    StoreBusy,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreNotFound,
    StoreReadOnly,
    StoreVersionError,
    VideoError,
)

if TYPE_CHECKING:
    from facegrep._core import active_isa
    from facegrep._index import FaceIndex
    from facegrep._result import Hit, Plan, SearchResult
    from facegrep.engine import Engine, open

__version__ = "0.1.0"

__all__ = [
    "AlreadyExistsError",
    "DeviceUnavailableError",
    "Engine",
    "ErasePending",
    "FaceIndex",
    "FacegrepError",
    "ForkError",
    "Hit",
    "InvalidArgumentError",
    "MasterKeyError",
    "MissingExtraError",
    "ModelError",
    "ModelMismatchError",
    "NoFaceError",
    "NotFoundError",
    "OperationDeniedError",
    "PictureError",
    "Plan",
    "SearchResult",
    "StoreBusy",
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreNotFound",
    "StoreReadOnly",
    "StoreVersionError",
    "VideoError",
    "active_isa",
    "open",
]

# When they are first wanted: the engine needs more than numpy, and the native core refuses to load
# under an impossible FACEGREP_ISA, which the command must be able to say in a line.
_LAZY = {
    "Engine": "facegrep.engine",
    "FaceIndex": "facegrep._index",
    "Hit": "facegrep._result",
    "Plan": "facegrep._result",
    "SearchResult": "facegrep._result",
    "active_isa": "facegrep._core",
    "open": "facegrep.engine",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in ("_core", "engine", "fetch", "ice", "keys", "media", "server", "video", "vision"):
        return importlib.import_module(f"facegrep.{name}")
    raise AttributeError(f"module 'facegrep' has no attribute {name!r}")
