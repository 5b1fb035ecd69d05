"""What an account has, counted before it goes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import msgspec

from facegrep._errors import InvalidArgumentError

if TYPE_CHECKING:
    from facegrep.engine._engine import Engine
    from facegrep.store import StoredEntry


@dataclass(frozen=True, slots=True)
class AccountContents:
    """What goes with an account; once it is gone, the receipt of that.

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

    @staticmethod
    def from_dict(value: object) -> AccountContents:
        """Read what `to_dict` gave, from JSON again.

        Raises
        ------
        InvalidArgumentError
            It is something else.
        """
        try:
            return msgspec.convert(value, AccountContents)
        except msgspec.ValidationError as error:
            raise InvalidArgumentError(f"not what an account had: {error}") from error

    def counts(self) -> dict[str, int]:
        """How much of each kind, as the audit has it."""
        return {
            "libraries": len(self.libraries),
            "recognition_libraries": len(self.recognition_libraries),
            "entities": self.entity_count,
            "keys": len(self.key_ids),
        }

    def contradictions(self, entry: StoredEntry) -> list[str]:
        """Name what a receipt says, and its entry of the audit does not."""
        pairs = {
            "account": (self.account, entry.account),
            "media_count": (self.media_count, entry.media_count),
            "face_count": (self.face_count, entry.face_count),
            "dropped_ms": (self.dropped_ms, entry.time_ms),
            "hash": ("drop_account", entry.action),
            **{
                name: (count, json.loads(entry.details).get(name))
                for name, count in self.counts().items()
            },
        }
        return [name for name, (said, known) in pairs.items() if said != known]


# Has msgspec look at the type now; threads that first convert to it at once would crash.
msgspec.json.Decoder(AccountContents)


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
