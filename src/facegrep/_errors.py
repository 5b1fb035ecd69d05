"""Everything that facegrep raises on purpose.

::

    FacegrepError
    ├── InvalidArgumentError (ValueError)      the call was wrong; nothing was changed
    │   ├── PictureError                       bytes that are not a picture read here; .reason
    │   │   └── NoFaceError                    a picture, but without a usable face
    │   ├── VideoError                         bytes that are not a video read here; .reason
    │   ├── ModelMismatchError                 vectors of another model than the library's
    │   ├── AlreadyExistsError                 the name is taken, by something else
    │   └── NotFoundError (LookupError)        no such library, media, entity...; .kind, .name
    ├── ModelError (RuntimeError)              weights missing, damaged, not as promised
    │   └── DeviceUnavailableError             the device asked for cannot run; says what is missing
    ├── MissingExtraError (ImportError)        a part of facegrep that is not installed; .extra
    ├── OperationDeniedError (RuntimeError)    the library's state forbids it
    ├── MasterKeyError (RuntimeError)          no key to seal secrets with, or not the right one
    ├── SnapshotDamaged (RuntimeError)         a saved index, never the store: made anew, not raised
    ├── StoreError (RuntimeError)              the store on disk
    │   ├── StoreNotFound                      there is none, and this call does not create one
    │   ├── StoreBusy                          another writer held the lock until the timeout
    │   ├── StoreCorrupt                       bytes are not what was written; .library, .block
    │   ├── StoreVersionError                  written by another facegrep; .found, .supported
    │   ├── StoreReadOnly                      a write through a readonly engine
    │   ├── StoreClosed                        used after close
    │   ├── StoreFull                          the disk is full, or refuses to grow
    │   ├── ErasePending                       erased from every answer, not yet from every file
    │   └── ForkError                          opened before a fork, used after it
    └── facegrep.ice.IceError                  an ICE error reply; .http_status, .code, .message
"""

from __future__ import annotations


class FacegrepError(Exception):
    """The root of the tree drawn in this module's docstring.

    Attributes
    ----------
    acknowledged
        From a call that adds many: how many of them are durable, or were there already.
    """

    acknowledged: int | None = None


class InvalidArgumentError(FacegrepError, ValueError):
    """The call was wrong. Nothing was changed."""


class PictureError(InvalidArgumentError):
    """Bytes that are not a picture facegrep reads.

    Attributes
    ----------
    reason
        A short phrase without the source's name, fit for a remote caller.
    """

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = message if reason is None else reason


class NoFaceError(PictureError):
    """A readable picture in which no usable face was found."""


class VideoError(InvalidArgumentError):
    """Bytes that are not a video facegrep reads.

    Attributes
    ----------
    reason
        A short phrase without the source's name, fit for a remote caller.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ModelMismatchError(InvalidArgumentError):
    """Vectors or pictures of one model meet a library of another."""


class AlreadyExistsError(InvalidArgumentError):
    """A library, or an asset with other content, already has this name."""


class NotFoundError(InvalidArgumentError, LookupError):
    """Nothing of that name or id.

    Attributes
    ----------
    kind
        ``"library"``, ``"media"``, ``"recognition library"``, ``"entity"``, ``"sample"``,
        ``"access key"`` or ``"account"``.
    name
        The name that was asked for.
    """

    def __init__(self, kind: str, name: str, hint: str = "") -> None:
        super().__init__(f"{kind} {name!r} does not exist{f'; {hint}' if hint else ''}")
        self.kind = kind
        self.name = name


class ModelError(FacegrepError, RuntimeError):
    """Weights are missing, damaged, or not what their manifest promises."""


class DeviceUnavailableError(ModelError):
    """The device asked for cannot run the model; the message says what is missing."""


class MissingExtraError(FacegrepError, ImportError):
    """A part of facegrep that needs an extra which is not installed.

    Attributes
    ----------
    extra
        Its name: ``pip install 'facegrep[extra]'`` brings what is missing.
    """

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message)
        self.extra = extra


class OperationDeniedError(FacegrepError, RuntimeError):
    """The library's state forbids the call."""


class MasterKeyError(FacegrepError, RuntimeError):
    """Secrets of access keys cannot be sealed or opened: no master key, or not the right one."""


class SnapshotDamaged(FacegrepError, RuntimeError):
    """A saved index is not what was saved. The engine makes it anew, and does not let this out."""


class StoreError(FacegrepError, RuntimeError):
    """Something about the store on disk; itself, when the disk fails to read or write."""


class StoreNotFound(StoreError):
    """There is no store at this path, and the call does not create one."""


class StoreBusy(StoreError):
    """Another writer held the store's lock until the timeout; nothing was written."""


class StoreCorrupt(StoreError):
    """Bytes on disk are not what was written.

    Attributes
    ----------
    library
        The library that is damaged; ``None`` when it is not one alone. Others still answer.
    block
        ``(file, number)`` of the damaged block of vectors, if it is one.
    """

    def __init__(
        self, message: str, *, library: str | None = None, block: tuple[str, int] | None = None
    ) -> None:
        super().__init__(message)
        self.library = library
        self.block = block


class StoreVersionError(StoreError):
    """The store was written by a newer facegrep, or by an older one and must be upgraded first.

    Attributes
    ----------
    found, supported
        Schema versions: the store's, and the one that this facegrep reads.
    """

    def __init__(self, message: str, *, found: int, supported: int) -> None:
        super().__init__(message)
        self.found = found
        self.supported = supported


class StoreReadOnly(StoreError):
    """A write through an engine that was opened with ``readonly=True``."""


class StoreClosed(StoreError):
    """The engine was used after ``close()``."""


class StoreFull(StoreError):
    """The disk is full or refuses to grow; the store keeps what it had."""


class ErasePending(StoreError):
    """Assets are in no answer any more, but not all of their bytes are overwritten yet.

    The message says what is finished and what is left. That is done by the next ``erase``,
    ``compact`` or ``purge``, or when the store is opened for writing again. There is no receipt
    before; erasing the same ids again gives one, in which they are unknown.
    """


class ForkError(StoreError):
    """The engine was opened before a fork and used after it; open the store again there."""
