"""Libraries made and set up, assets described anew."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Literal

from facegrep._errors import AlreadyExistsError, NotFoundError
from facegrep.store._core import StoreCore, now_ms
from facegrep.store._libraries import (
    count_assets,
    find_library,
    insert_library,
    same_library,
    write_library,
)
from facegrep.store._media import find_media
from facegrep.store._media_rows import replace_media

if TYPE_CHECKING:
    from collections.abc import Callable

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
    ) -> LibraryRow:
        """Add a library.

        Raises
        ------
        AlreadyExistsError
            The account has one of that name.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            with contextlib.suppress(NotFoundError):
                find_library(connection, account, name)
                raise AlreadyExistsError(
                    f"library {name!r} exists already; drop_library removes it with all it holds"
                )
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
                now_ms=now_ms(),
            )
            return find_library(connection, account, name)

    def change_library(
        self,
        library: LibraryRow,
        column: Literal["threshold", "config", "face_index"],
        value: object,
    ) -> None:
        """Set one property of a library."""
        with self.catalog.write() as transaction:
            current = same_library(transaction.connection, library)
            _ = transaction.seq
            changed = dataclasses.replace(current, **{column: value})  # type: ignore[arg-type]
            write_library(transaction.connection, changed)

    def update(
        self,
        library: LibraryRow,
        media_id: str,
        change: Callable[[MediaRow], tuple[Columns, str | None]],
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
