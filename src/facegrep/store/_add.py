"""Assets that come, and what is found in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from facegrep._errors import AlreadyExistsError, OperationDeniedError
from facegrep.store._audit import note_change
from facegrep.store._bulk import NewVectors, insert_vectors
from facegrep.store._clock import now_ms
from facegrep.store._core import StoreCore
from facegrep.store._libraries import count_assets, same_library
from facegrep.store._media import find_identities, find_stored, still_unanalysed
from facegrep.store._media_rows import insert_media, set_faces
from facegrep.store._removal import note_expired, remove_for_good

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegrep.store._assets import NewAsset, Outcome, StoredIdentity
    from facegrep.store._database import Transaction
    from facegrep.store._libraries import LibraryRow

Added: TypeAlias = bool | AlreadyExistsError | OperationDeniedError
"""Stored, the same already there, or why it was left out."""


class AddedVectors(NamedTuple):
    """What became of assets: new, there already, faces of the new; its seq before, and now."""

    added: int
    unchanged: int
    faces: int
    seq_before: int
    seq: int
    conflict: AlreadyExistsError | None
    """Of the first that was left out; nothing after it was looked at."""


class AddOperations(StoreCore):
    """The Store's ways to add."""

    def add(
        self,
        library: LibraryRow,
        assets: Sequence[NewAsset],
        *,
        stop_at_conflict: bool,
        action: str = "add",
        actor: str | None = None,
    ) -> list[Added]:
        """Add assets and their vectors in one commit.

        Parameters
        ----------
        library
            As it was when the assets were analysed, or not, for its face index.
        stop_at_conflict
            Store nothing from the first asset on that is left out.
        action, actor
            What the audit says of it.

        Returns
        -------
        added
            What became of each: ``True``, ``False`` when the same asset was there already, or the
            error of one left out: its id is taken by another asset, or it was not analysed because
            it was there, and is gone. It ends with the error that it stopped at.

        Raises
        ------
        NotFoundError, OperationDeniedError
            The library was dropped, or its face index switched, meanwhile.
        StoreError
            See `Database.write`.
        """
        with self.vectors.appending() as transaction:
            connection = transaction.connection
            current = same_library(connection, library)
            _require_same_state(current, library)
            taken = find_identities(connection, current, [a.media_id for a in assets])
            outcome: list[Added] = []
            fresh: list[tuple[int, NewAsset]] = []
            for asset in assets:
                stored = taken.get(asset.media_id)
                if stored is not None:
                    outcome.append(
                        False
                        if asset.is_same(stored)
                        else AlreadyExistsError(asset.describe_conflict(stored))
                    )
                elif asset.faces is None and asset.job is None and current.face_index == "active":
                    outcome.append(
                        OperationDeniedError(
                            f"media {asset.media_id!r} was there, so it was not analysed, and was "
                            "deleted meanwhile; it was not stored, repeat the call"
                        )
                    )
                else:
                    ordinal = current.next_ordinal + len(fresh)
                    taken[asset.media_id] = asset.identity(ordinal)
                    fresh.append((ordinal, asset))
                    outcome.append(True)
                if stop_at_conflict and not isinstance(outcome[-1], bool):
                    break
            if fresh:
                seq = transaction.seq
                ids = [asset.media_id for _, asset in fresh]
                current = self._free_ids(transaction, current, ids, actor)
                slots = self.vectors.append(
                    connection, current, [asset.faces for _, asset in fresh]
                )
                rows = [(*pair, place) for pair, place in zip(fresh, slots, strict=True)]
                digest = insert_media(connection, current, seq, now_ms(), rows)
                faces = sum(len(a.faces.codes) for _, a in fresh if a.faces is not None)
                count_assets(connection, current, seq, media=len(fresh), faces=faces, digest=digest)
                note_change(connection, current, action, actor, media=len(fresh), faces=faces)
                self.faces_added[library.id] += faces
            return outcome

    def add_vectors(
        self,
        library: LibraryRow,
        assets: NewVectors,
        *,
        untaken_at: int | None,
        actor: str | None = None,
    ) -> AddedVectors:
        """Add assets that are vectors in one commit, up to the first whose id another one has.

        Parameters
        ----------
        library
            As it was when the caller looked at it.
        untaken_at
            The library's ``seq`` at which the caller found none of their ids taken, if it did:
            while it is that, nobody looks again.
        actor
            Who adds them, for the audit.

        Raises
        ------
        NotFoundError, OperationDeniedError
            The library was dropped, or its face index switched, meanwhile.
        StoreError
            See `Database.write`.
        """
        with self.vectors.appending() as transaction:
            connection = transaction.connection
            current = same_library(connection, library)
            _require_same_state(current, library)
            unchanged, conflict = 0, None
            # With a retention, time alone changes what is taken.
            if current.seq != untaken_at or current.ttl_ms is not None:
                taken = find_identities(connection, current, assets.media_ids)
                fresh, unchanged, conflict = _compare(assets, taken)
                if len(fresh) < len(assets):
                    assets = assets.select(fresh)
            if not len(assets):
                return AddedVectors(0, unchanged, 0, current.seq, current.seq, conflict)
            seq, seq_before = transaction.seq, current.seq
            current = self._free_ids(transaction, current, assets.media_ids, actor)
            place = self.vectors.append_codes(connection, current, assets.codes)
            digest = insert_vectors(connection, current, seq, now_ms(), assets, place)
            media, faces = len(assets), len(assets.codes)
            count_assets(connection, current, seq, media=media, faces=faces, digest=digest)
            note_change(connection, current, "add_vectors", actor, media=media, faces=faces)
            self.faces_added[library.id] += faces
            return AddedVectors(media, unchanged, faces, seq_before, seq, conflict)

    def _free_ids(
        self,
        transaction: Transaction,
        library: LibraryRow,
        media_ids: Sequence[str],
        actor: str | None,
    ) -> LibraryRow:
        """Remove the expired assets of ids that no other asset has; the library as it is then."""
        if library.ttl_ms is None:
            return library
        expired = find_stored(transaction.connection, library, media_ids)
        if not expired:
            return library
        changed, _ = remove_for_good(transaction, self.vectors.folder, library, expired)
        note_expired(transaction.connection, changed, expired, actor)
        return changed

    def set_analyses(
        self,
        library: LibraryRow,
        analyses: Sequence[Outcome],
        *,
        actor: str | None = None,
    ) -> None:
        """Enter the outcome of analyses of assets by ordinal; those deleted since are left out.

        Raises
        ------
        NotFoundError, OperationDeniedError
            The library was dropped, or its face index switched, meanwhile.
        """
        with self.vectors.appending() as transaction:
            connection = transaction.connection
            current = same_library(connection, library)
            _require_same_state(current, library)
            waiting = still_unanalysed(connection, current, [one.ordinal for one in analyses])
            live = [one for one in analyses if one.ordinal in waiting]
            if live:
                seq = transaction.seq
                slots = self.vectors.append(connection, current, [one.faces for one in live])
                rows = [
                    (waiting[one.ordinal], one, place)
                    for one, place in zip(live, slots, strict=True)
                ]
                digest = set_faces(connection, seq, rows)
                faces = sum(len(one.faces.codes) for one in live if one.faces is not None)
                count_assets(connection, current, seq, faces=faces, digest=digest)
                note_change(connection, current, "analyse", actor, media=len(live), faces=faces)


def _require_same_state(current: LibraryRow, expected: LibraryRow) -> None:
    if current.face_index != expected.face_index:
        raise OperationDeniedError(
            f"the face index of library {current.name!r} was switched meanwhile; nothing was "
            "stored, repeat the call"
        )


def _compare(
    assets: NewVectors, taken: dict[str, StoredIdentity]
) -> tuple[list[int], int, AlreadyExistsError | None]:
    """Return the numbers of those that are new, how many are there, and the first conflict."""
    if not taken:
        return list(range(len(assets))), 0, None
    fresh, unchanged = [], 0
    for number, media_id in enumerate(assets.media_ids):
        stored = taken.get(media_id)
        if stored is None:
            fresh.append(number)
            continue
        asset = assets.asset(number)
        if not asset.is_same(stored):
            return fresh, unchanged, AlreadyExistsError(asset.describe_conflict(stored))
        unchanged += 1
    return fresh, unchanged, None
