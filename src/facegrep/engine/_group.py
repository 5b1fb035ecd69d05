"""Commits of many assets at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

from facegrep._errors import FacegrepError
from facegrep.engine._results import AddManyResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegrep.store import LibraryRow, NewAsset, Store

GROUP_ASSETS: Final = 256
GROUP_S: Final = 1.0
"""A commit costs about 3 ms beside a picture's 20; a second is what a crash may take back."""
GROUP_BYTES: Final = 64 << 20
"""Of content kept for a later analysis: an array of 25 megapixels alone has 75 MB."""


class Group:
    """Assets on their way into one commit, and what became of all so far."""

    def __init__(
        self,
        store: Store,
        library: LibraryRow,
        on_error: Literal["raise", "collect"],
        progress: Callable[[int, int | None], None] | None,
        total: int | None,
        *,
        action: str,
        actor: str | None,
    ) -> None:
        self._store = store
        self._library = library
        self._raises = on_error == "raise"
        self._progress = progress
        self._total = total
        self._action = action
        self._actor = actor
        self._assets: list[tuple[int, NewAsset]] = []
        self._since = time.monotonic()
        self._bytes = 0
        self._taken = 0
        self._added = 0
        self._unchanged = 0
        self._faces = 0
        self._errors: list[tuple[int, str, FacegrepError]] = []
        self._truncated: list[tuple[str, str]] = []

    def take(self, asset: NewAsset) -> None:
        """Put an asset into the next commit."""
        if not self._assets:
            self._since, self._bytes = time.monotonic(), 0
        self._assets.append((self._taken, asset))
        self._bytes += 0 if asset.pending is None else len(asset.pending[0])
        self._taken += 1
        if (
            len(self._assets) >= GROUP_ASSETS
            or self._bytes >= GROUP_BYTES
            or time.monotonic() - self._since >= GROUP_S
        ):
            self.commit()

    def refuse(self, media_id: str, error: FacegrepError) -> None:
        """Leave an item out, or raise its error once what came before it is durable."""
        self._taken += 1
        if self._raises:
            self.commit()
            raise error
        self._errors.append((self._taken - 1, media_id, error))

    def commit(self) -> None:
        """Make what was taken durable."""
        group, self._assets = self._assets, []
        if group:
            outcome = self._store.add(
                self._library,
                [asset for _, asset in group],
                stop_at_conflict=self._raises,
                action=self._action,
                actor=self._actor,
            )
            for (number, asset), added in zip(group, outcome, strict=False):
                if isinstance(added, FacegrepError):
                    if self._raises:
                        raise added
                    self._errors.append((number, asset.media_id, added))
                elif added:
                    self._added += 1
                    self._note(asset)
                else:
                    self._unchanged += 1
        if self._progress is not None:
            self._progress(self._taken, self._total)

    def _note(self, asset: NewAsset) -> None:
        if asset.faces is not None:
            self._faces += len(asset.faces.codes)
            video = asset.faces.video
            if video is not None and video.facts.truncated is not None:
                self._truncated.append((asset.media_id, video.facts.truncated))

    def result(self, provider: str | None) -> AddManyResult:
        """Return what became of all, and what ran the model."""
        errors = tuple(
            (media_id, error) for _, media_id, error in sorted(self._errors, key=_number)
        )
        truncated = tuple(self._truncated)
        return AddManyResult(self._added, self._unchanged, self._faces, errors, provider, truncated)

    def tell(self, error: FacegrepError) -> None:
        """Note on an error how much of the call is durable."""
        error.acknowledged = self._added + self._unchanged
        error.add_note(f"{error.acknowledged} assets of this call are durable")


def _number(error: tuple[int, str, FacegrepError]) -> int:
    return error[0]
