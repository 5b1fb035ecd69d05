"""The receipt of an erasure."""

from __future__ import annotations

from dataclasses import asdict, dataclass

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

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data, for JSON."""
        return asdict(self)
