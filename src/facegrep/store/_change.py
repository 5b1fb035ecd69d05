"""Libraries made and set up, assets described anew."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Final, Literal

from facegrep._errors import AlreadyExistsError, NotFoundError
from facegrep.store._audit import note_change
from facegrep.store._clock import now_ms
from facegrep.store._core import StoreCore
from facegrep.store._libraries import (
    count_assets,
    find_library,
    insert_library,
    same_library,
    write_library,
)
from facegrep.store._media import find_media
from facegrep.store._media_rows import replace_media
from facegrep.store._recognition_rows import require_recognition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from facegrep.store._assets import Columns, MediaRow
    from facegrep.store._libraries import LibraryRow


class ChangeOperations(StoreCore):
    """The Store's ways to change what is there."""

    def insert_library(
        self,
        account: str,
        name: str,
        *,
        model: str | None,
        dim: int,
        threshold: float | None,
        face_index: str | None,
        config: str,
        recognition: Sequence[str] = (),
        ttl_ms: int | None = None,
        actor: str | None = None,
    ) -> LibraryRow:
        """Add a library.

        Raises
        ------
        AlreadyExistsError
            The account has one of that name.
        NotFoundError, ModelMismatchError
            A recognition library is not there, or holds other embeddings.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            with contextlib.suppress(NotFoundError):
                find_library(connection, account, name)
                raise AlreadyExistsError(
                    f"library {name!r} exists already; drop_library removes it with all it holds"
                )
            require_recognition(connection, account, recognition, model, dim)
            _ = transaction.seq
            insert_library(
                connection,
                account,
                name,
                model=model,
                dim=dim,
                threshold=threshold,
                face_index=face_index,
                config=config,
                recognition=",".join(recognition),
                now_ms=now_ms(),
                ttl_ms=ttl_ms,
                actor=actor,
            )
            return find_library(connection, account, name)

    def change_library(
        self,
        library: LibraryRow,
        column: Literal["threshold", "config", "face_index", "ttl_ms"],
        value: object,
        *,
        actor: str | None = None,
    ) -> None:
        """Set one property of a library."""
        with self.catalog.write() as transaction:
            connection = transaction.connection
            current = same_library(connection, library)
            seq = transaction.seq
            changed = dataclasses.replace(current, **{column: value})  # type: ignore[arg-type]
            if column == "ttl_ms":  # which assets are there may change with it
                changed = dataclasses.replace(changed, seq=seq)
            write_library(connection, changed)
            # Of a text of the caller's the audit says nothing: it may name people.
            details = (
                None if column == "config" else {"from": getattr(current, column), "to": value}
            )
            note_change(connection, current, _ACTIONS[column], actor, details=details)

    def set_recognition(
        self,
        library: LibraryRow,
        recognition: Sequence[str],
        *,
        config: str | None = None,
        actor: str | None = None,
    ) -> None:
        """Set which recognition libraries a library lists, and its `config` with them if given.

        Raises
        ------
        NotFoundError, ModelMismatchError
            One is not there, or holds other embeddings.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            current = same_library(connection, library)
            require_recognition(
                connection, current.account, recognition, current.model, current.dim
            )
            _ = transaction.seq
            changed = dataclasses.replace(
                current,
                recognition=",".join(recognition),
                config=current.config if config is None else config,
            )
            write_library(connection, changed)
            details = {"count": len(recognition)}
            note_change(connection, current, "set_recognition", actor, details=details)

    def update(
        self,
        library: LibraryRow,
        media_id: str,
        change: Callable[[MediaRow], tuple[Columns, str | None]],
        *,
        actor: str | None = None,
    ) -> None:
        """Change an asset's columns and title to what `change` makes of it.

        Raises
        ------
        NotFoundError
            There is no such asset.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            current = same_library(connection, library)
            row = find_media(connection, current, media_id)
            if row is None:
                raise NotFoundError("media", media_id)
            columns, title = change(row)
            seq = transaction.seq
            changed = row._replace(row_seq=seq, title=title, **columns._asdict())
            digest = replace_media(connection, [(row, changed)])
            count_assets(connection, current, seq, digest=digest)
            note_change(connection, current, "update", actor, media=1)


_ACTIONS: Final = {
    "threshold": "set_threshold",
    "config": "set_config",
    "face_index": "set_face_index",
    "ttl_ms": "set_retention",
}
