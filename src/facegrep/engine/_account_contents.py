"""What an account has, counted before it goes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facegrep.engine._engine import Engine


@dataclass(frozen=True, slots=True)
class AccountContents:
    """What goes with an account.

    Attributes
    ----------
    account
        Its name.
    libraries
        The names of its search libraries.
    media_count, face_count
        In those, without what has expired.
    recognition_libraries
        The names of its recognition libraries.
    entity_count
        The people in those.
    key_ids
        Its access keys, disabled ones too.
    dropped_ms, hash
        When it went, and the hash of the audit's entry of that; ``None`` while it is there.
    """

    account: str
    libraries: tuple[str, ...]
    media_count: int
    face_count: int
    recognition_libraries: tuple[str, ...]
    entity_count: int
    key_ids: tuple[str, ...]
    dropped_ms: int | None = None
    hash: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data, for JSON."""
        return asdict(self)


def contents_of(view: Engine) -> AccountContents:
    """Count what the account of a view has."""
    libraries, known = view.libraries(), view.recognition_libraries()
    return AccountContents(
        account=view.account,
        libraries=tuple(library.name for library in libraries),
        media_count=sum(library.media_count for library in libraries),
        face_count=sum(library.face_count for library in libraries),
        recognition_libraries=tuple(one.name for one in known),
        entity_count=sum(one.entity_count for one in known),
        key_ids=tuple(key.id for key in view.access.list_keys() if key.account == view.account),
    )
