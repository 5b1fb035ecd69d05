"""The second door: durable libraries of pictures or vectors."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from facegrep._arguments import check_choice, shown
from facegrep._errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    StoreCorrupt,
)
from facegrep._names import check_name
from facegrep.engine._account_contents import contents_of
from facegrep.engine._audit import AuditOperations
from facegrep.engine._clips import ClipOperations
from facegrep.engine._downloads import Fetcher, check_fetcher
from facegrep.engine._erasure import ErasureOperations
from facegrep.engine._face_index import IndexingOperations
from facegrep.engine._jobs import JobOperations
from facegrep.engine._libraries import LibraryOperations
from facegrep.engine._pages import Answers
from facegrep.engine._people_told import TellingOperations
from facegrep.engine._recognition import RecognitionOperations
from facegrep.engine._upkeep import UpkeepOperations
from facegrep.engine._vectors import VectorOperations
from facegrep.engine._view import (
    DEFAULT_ACCOUNT,
    DEFAULT_LIBRARY,
    DEFAULT_MODEL,
    Shared,
    embedder_manifest,
)
from facegrep.engine._worker import TAKE_UP_AFTER_S
from facegrep.store import Store, insert_library, list_models, now_ms, running_libraries

if TYPE_CHECKING:
    import os
    import sqlite3
    from types import TracebackType

    from facegrep.engine._account_contents import AccountContents
    from facegrep.store import AccessStore
    from facegrep.vision import Device, Precision


class Engine(
    LibraryOperations,
    JobOperations,
    VectorOperations,
    IndexingOperations,
    ClipOperations,
    RecognitionOperations,
    TellingOperations,
    ErasureOperations,
    UpkeepOperations,
    AuditOperations,
):
    """An open store, as one account sees it. Made by `facegrep.open`.

    Notes
    -----
    Thread-safe: calls run side by side, and a call that is under way when another thread closes the
    engine ends or raises `StoreClosed`. Each reading call has a SQLite connection of its own while
    it runs; writing calls take turns, among threads and among processes, commit by commit. A
    process forked from this one must open the store again (`ForkError`).
    """

    def __init__(self, shared: Shared, account: str, actor: str | None) -> None:
        super().__init__(shared, account, actor)
        self._owns_store = True
        self.answers = Answers(shared.store, account, actor, shared.calibration)
        """The account's frozen answers by token."""

    @property
    def path(self) -> Path:
        """The store's directory, absolute."""
        return self._shared.store.path

    @property
    def readonly(self) -> bool:
        """Whether it was opened with ``readonly=True``."""
        return self._shared.store.readonly

    @property
    def account(self) -> str:
        """Whose libraries these are."""
        return self._account

    @property
    def actor(self) -> str | None:
        """Who acts, as the audit has it."""
        return self._actor

    @property
    def fetcher(self) -> Fetcher | None:
        """What gets the content behind URLs in the background, as it was given to `open`."""
        return self._shared.fetcher

    @property
    def access(self) -> AccessStore:
        """Keys and nonces of all accounts: what `facegrep.keys` and a server work on."""
        return self._store.access

    def for_account(self, name: str, *, actor: str | None = None) -> Engine:
        """View the same store as another account, or another actor.

        Accounts see nothing of each other. A new one begins with the library
        ``ims-default-search-lib``. Closing a view leaves the store open.

        Parameters
        ----------
        name
            The account.
        actor
            Who acts, for the audit; by default as here.

        Raises
        ------
        InvalidArgumentError
            Not a name.
        """
        check_name(name, "account")
        who = self._actor if actor is None else check_name(actor, "actor")
        store = self._store
        with store.catalog.read() as connection:
            query = "SELECT count(*) FROM account WHERE name = ?"
            known = connection.execute(query, (name,)).fetchone()[0]
        if not known and not store.readonly:
            manifest = embedder_manifest(DEFAULT_MODEL)
            with contextlib.suppress(AlreadyExistsError):  # made by another thread meanwhile
                store.insert_library(
                    name,
                    DEFAULT_LIBRARY,
                    model=manifest.id,
                    dim=manifest.dim,
                    threshold=None,
                    face_index="active",
                    config="",
                    actor=who,
                )
        view = Engine(self._shared, name, who)
        view._owns_store = False
        return view

    def load_models(self) -> None:
        """Load now what embeds the pictures of all accounts' libraries: no first call waits for it.

        In a store without libraries that is the default model. 0.3 s each.

        Raises
        ------
        ModelError
            Weights or onnxruntime are missing or damaged.
        DeviceUnavailableError
            The device that the store was opened for is not here.
        """
        with self._store.catalog.read() as connection:
            models = list_models(connection)
        for model in models or [DEFAULT_MODEL]:
            self._shared.analyzer(model)

    def drop_account(self, name: str, *, dry_run: bool = False) -> AccountContents:
        """Remove an account: its keys first, so that nobody calls for it any more, then all else.

        Its libraries, frozen answers, recognition libraries, keys and nonces are in no file of the
        store afterwards; only the audit keeps names of libraries, the account and ids of keys. One
        that was cut off is gone on with by calling it again. Views of the account are of no use
        any more.

        Parameters
        ----------
        name
            The account.
        dry_run
            Only say what would go.

        Returns
        -------
        AccountContents
            What went, as it was when this began: of one that was cut off, what was left.

        Raises
        ------
        NotFoundError
            There is none of that name.
        OperationDeniedError
            Somebody makes libraries of it at the same time; call again.
        ErasePending
            It is gone, but its remains are not overwritten yet.
        """
        store = self._store if dry_run else self._writable
        if not store.has_account(check_name(name, "name")):
            raise NotFoundError("account", name)
        view = Engine(self._shared, name, self._actor)
        contents = contents_of(view)
        if dry_run:
            return contents
        store.access.forget_account(name, self._actor)
        for library in view.libraries():
            view.drop_library(library.name)
        for known in view.recognition_libraries():
            view.delete_recognition_library(known.recognition_id)
        done = store.drop_account(
            name,
            actor=self._actor,
            media=contents.media_count,
            faces=contents.face_count,
            details=contents.counts(),
        )
        return replace(contents, dropped_ms=done.time_ms, hash=done.hash.hex())

    def close(self) -> None:
        """Close. What was acknowledged is durable with or without it. Closing again does nothing.

        An analysis in the background is broken off, pictures within seconds, a video at its next
        frame, and so is what is being fetched; the next that opens the store takes it up.

        Saves the index of a library of which much is new, an eighth and 16,384 faces or more, so
        that the next process opens it fast: 3 s at 500,000 faces that were added and not searched.
        Closes the views of other accounts with it, but not the other way round.
        """
        self._closed = True
        if self._owns_store:
            self._shared.worker.close()
            try:
                self._shared.indexes.save_all()
            finally:
                # Now, and not when the garbage is collected: faces, and files that are open.
                self._shared.indexes.forget()
                self._shared.rosters.forget()
                self._shared.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed " if self._closed else ""
        return f"<Engine {state}{str(self.path)!r} account={self._account!r}>"


def open(
    path: str | os.PathLike[str],
    *,
    device: Device = "auto",
    precision: Precision = "fp32",
    readonly: bool = False,
    actor: str | None = None,
    fetcher: Fetcher | None = None,
) -> Engine:
    """Open a store, or create it.

    Parameters
    ----------
    path
        Its directory, on a local filesystem; absent or empty to create one.
    device
        Where pictures are embedded: ``"cpu"``, ``"cuda"``, or ``"auto"`` for CUDA where it works.
        Looked at when the first picture is.
    precision
        ``"fp32"``, or ``"int8"`` (CPU only); embeddings of both compare.
    readonly
        Write nothing; frozen answers are kept in memory.
    actor
        Who acts, for the audit: a name of yours.
    fetcher
        Gets what is behind URLs, for analyses in the background (see `submit`). Without one these
        stay Running until an engine that has one opens the store.

    Returns
    -------
    Engine
        For the account ``default``, to be closed; a context manager.

    Raises
    ------
    InvalidArgumentError
        Names the argument.
    StoreNotFound
        There is no store, and `readonly`.
    StoreCorrupt
        The directory holds something else, or a damaged store.
    StoreVersionError
        A newer facegrep made it.
    StoreError
        It cannot be made or read, or is on a network filesystem.
    """
    check_choice(device, "device", ("auto", "cpu", "cuda"))
    check_choice(precision, "precision", ("fp32", "int8"))
    if precision == "int8" and device == "cuda":
        raise InvalidArgumentError("precision: 'int8' runs on the CPU only; use 'fp32' for 'cuda'")
    try:
        directory = Path(path).absolute()
    except TypeError:
        directory = None
    if directory is None or "\0" in str(directory):
        raise InvalidArgumentError(f"path: expected that of a directory, got {shown(path)}")
    who = None if actor is None else check_name(actor, "actor")
    fetch = None if fetcher is None else check_fetcher(fetcher)
    store = Store.open(directory, readonly=readonly, on_create=_first_library)
    shared = Shared(store, device, precision, fetch)
    if not readonly and _has_jobs(store):  # of a process that died, or was closed
        shared.worker.wake(after_s=TAKE_UP_AFTER_S)
    return Engine(shared, DEFAULT_ACCOUNT, who)


def _has_jobs(store: Store) -> bool:
    try:
        with store.catalog.read() as connection:
            return bool(running_libraries(connection))
    except StoreCorrupt:  # said where it is used; libraries that are whole still answer
        return False


def _first_library(connection: sqlite3.Connection) -> None:
    manifest = embedder_manifest(DEFAULT_MODEL)
    insert_library(
        connection,
        DEFAULT_ACCOUNT,
        DEFAULT_LIBRARY,
        model=manifest.id,
        dim=manifest.dim,
        threshold=None,
        face_index="active",
        config="",
        now_ms=now_ms(),
    )
