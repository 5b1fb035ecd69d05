"""The receipt of an erasure."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from facegrep._errors import InvalidArgumentError
from facegrep.store._samples_like import SampleMatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from facegrep.store._audit import AuditEntry

ERASED: Final = "erased"
"""The action of the audit's entry of the end of an erasure."""

NOTE = (
    "Backups and other copies of the store, snapshots of its filesystem, and blocks that a drive "
    "has remapped are not reached."
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What went, given once nothing of it is in any file of the store.

    The ids are here alone: the store keeps counts and one salted hash of them.

    Attributes
    ----------
    library
        Its name.
    media_ids, unknown_ids
        Erased; asked for, but not there.
    face_count
        Vectors overwritten.
    segments, generations
        The files whose slots were overwritten, and the generations that they belong to.
    rewritten
        The databases that were rebuilt.
    answers
        Frozen answers that lost a hit, or went.
    begun_ms, erased_ms
        When they left every answer, and when every file (ms UTC).
    begun_hash
        The audit's entry of the beginning.
    previous_hash, hash
        Those of the audit's entry of the end: SHA-256 over the entry before it, and over both.
    note
        What is not reached.
    samples
        Samples of the person in recognition libraries; entities that had no other went with them.
    """

    library: str
    media_ids: tuple[str, ...]
    unknown_ids: tuple[str, ...]
    face_count: int
    segments: tuple[str, ...]
    generations: tuple[int, ...]
    rewritten: tuple[str, ...]
    answers: int
    begun_ms: int
    erased_ms: int
    begun_hash: str
    previous_hash: str
    hash: str
    note: str = NOTE
    samples: tuple[SampleMatch, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data, for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(value: object) -> Receipt:
        """Read what `to_dict` gave, from JSON again.

        Raises
        ------
        InvalidArgumentError
            It is something else.
        """
        try:
            return msgspec.convert(value, Receipt)
        except msgspec.ValidationError as error:
            raise InvalidArgumentError(f"not a receipt: {error}") from error


# Has msgspec look at the type now; threads that first convert to it at once would crash.
msgspec.json.Decoder(Receipt)


def hash_ids(salt: bytes, media_ids: Iterable[str]) -> str:
    """Return what stands for ids that must not be found: HMAC-SHA256 of them, sorted.

    Who has the ids and the store can show that these were erased; the store alone names nobody.
    """
    message = b"".join(hashlib.sha256(name.encode()).digest() for name in sorted(media_ids))
    return hmac.digest(salt, message, "sha256").hex()


def hash_samples(salt: bytes, samples: Sequence[SampleMatch]) -> str | None:
    """Return what stands for samples in the same way; ``None`` where there are none."""
    return hash_ids(salt, [one.sample_id for one in samples]) if samples else None


def contradictions(receipt: Receipt, salt: bytes, begun: AuditEntry, done: AuditEntry) -> list[str]:
    """Name what a receipt says, and the two entries of the audit that it names do not.

    The audit has its ids as one salted hash, so nobody can put another id into a receipt.
    """
    pairs = {
        "library": (receipt.library, begun.library),
        "media_ids": (hash_ids(salt, receipt.media_ids), json.loads(begun.details).get("ids")),
        "samples": (hash_samples(salt, receipt.samples), json.loads(begun.details).get("samples")),
        "face_count": (receipt.face_count, begun.face_count),
        "begun_ms": (receipt.begun_ms, begun.time_ms),
        "erased_ms": (receipt.erased_ms, done.time_ms),
        "previous_hash": (receipt.previous_hash, done.previous.hex()),
        "hash": (ERASED, done.action),
        "begun_hash": (True, begun.id < done.id),
    }
    return [name for name, (said, known) in pairs.items() if said != known]
