"""What the Engine's operations share: the store, the models, and whose libraries they are."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from facegrep._errors import (
    InvalidArgumentError,
    ModelError,
    ModelMismatchError,
    StoreClosed,
    StoreReadOnly,
)
from facegrep._names import check_name
from facegrep.engine._downloads import Fetcher
from facegrep.engine._indexes import Indexes
from facegrep.engine._roster import Rosters
from facegrep.engine._worker import Worker
from facegrep.store import LibraryRow, Store, find_library
from facegrep.vision import EmbedderManifest, FaceAnalyzer, load_manifest

if TYPE_CHECKING:
    from facegrep.vision import Calibration, Device, Precision

DEFAULT_MODEL = "sface"
DEFAULT_LIBRARY = "ims-default-search-lib"
DEFAULT_ACCOUNT = "default"


@dataclass(slots=True)
class Shared:
    """What the views of all accounts share. Thread-safe."""

    store: Store
    device: Device
    precision: Precision
    fetcher: Fetcher | None = None
    indexes: Indexes = field(init=False)
    rosters: Rosters = field(default_factory=Rosters)
    worker: Worker = field(init=False)
    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _analyzers: dict[str, FaceAnalyzer] = field(default_factory=dict)
    _manifests: dict[str, EmbedderManifest] = field(default_factory=dict)
    _absent: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.indexes = Indexes(self.store)
        self.worker = Worker(self.store, self.analyzer, self.fetcher)

    def analyzer(self, model: str) -> FaceAnalyzer:
        """Return the one analyzer of a model, made when it is first wanted."""
        with self._mutex:
            analyzer = self._analyzers.get(model)
            if analyzer is None:
                analyzer = FaceAnalyzer(model, device=self.device, precision=self.precision)
                self._analyzers[model] = analyzer
            return analyzer

    def manifest(self, model: str) -> EmbedderManifest:
        """Return a model's manifest, read once."""
        with self._mutex:
            manifest = self._manifests.get(model)
            if manifest is None:
                manifest = self._manifests[model] = embedder_manifest(model)
            return manifest

    def manifest_if_here(self, model: str | None) -> EmbedderManifest | None:
        """Return a model's manifest; vectors can be searched where their model is not installed.

        That it is not is remembered: to look takes 3 ms.
        """
        if model is None or model in self._absent:
            return None
        try:
            return self.manifest(model)
        except (ModelError, InvalidArgumentError):
            self._absent.add(model)
            return None

    def calibration(self, model: str | None) -> Calibration | None:
        """Return what a model's cosines mean, if that is known here."""
        manifest = self.manifest_if_here(model)
        return None if manifest is None else manifest.calibration


def embedder_manifest(model: str) -> EmbedderManifest:
    """Read the manifest of a model by name or id.

    Raises
    ------
    InvalidArgumentError
        It is a detector, or no name.
    ModelError
        There is none, or it is not valid.
    """
    manifest = load_manifest(check_name(model, "model")).manifest
    if not isinstance(manifest, EmbedderManifest):
        raise InvalidArgumentError(f"model {model!r} finds faces, but does not embed them")
    return manifest


class EngineCore:
    """An account's view of an open store."""

    def __init__(self, shared: Shared, account: str, actor: str | None) -> None:
        self._shared = shared
        self._account = account
        self._actor = actor
        self._closed = False

    @property
    def _store(self) -> Store:
        """The store, while this view is open."""
        if self._closed:
            raise StoreClosed("the engine was closed; open the store again")
        self._shared.store.catalog.require_open()
        return self._shared.store

    @property
    def _writable(self) -> Store:
        """The store, to write to; asked for before any work is done for nothing."""
        store = self._store
        if store.readonly:
            raise StoreReadOnly(
                "the engine was opened with readonly=True; open the store without it to write"
            )
        return store

    def _find(self, library: str) -> LibraryRow:
        with self._store.catalog.read() as connection:
            return find_library(connection, self._account, library)

    def _analyzer_of(self, library: LibraryRow) -> FaceAnalyzer:
        return self._shared.analyzer(require_model(library))


def require_model(library: LibraryRow) -> str:
    """Return the id of a library's model.

    Raises
    ------
    ModelMismatchError
        It holds vectors without a model.
    """
    if library.model is None:
        raise ModelMismatchError(
            f"library {library.name!r} holds vectors without a model, so it takes no pictures, "
            "neither to add nor to search for; give vectors"
        )
    return library.model
