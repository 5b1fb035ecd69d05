"""Exact face search: which of my media contain this person.

Three doors, each built on the one before:

- :class:`FaceIndex`: vectors in memory, searched natively and exactly. Needs numpy alone.
- :func:`open`: durable libraries of pictures or vectors (:class:`Engine`).
- :mod:`facegrep.ice`: the same, answering Alibaba Cloud ICE's actions.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from facegrep._core import active_isa
from facegrep._errors import (
    AlreadyExistsError,
    DeviceUnavailableError,
    ErasePending,
    FacegrepError,
    ForkError,
    InvalidArgumentError,
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
)
from facegrep._index import FaceIndex
from facegrep._result import Hit, Plan, SearchResult

if TYPE_CHECKING:
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
    "active_isa",
    "open",
]

_LAZY = {"Engine": "facegrep.engine", "open": "facegrep.engine"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in ("engine", "ice", "media", "vision"):
        return importlib.import_module(f"facegrep.{name}")
    raise AttributeError(f"module 'facegrep' has no attribute {name!r}")
