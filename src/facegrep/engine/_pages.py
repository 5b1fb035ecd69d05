"""Pages of frozen answers, and the tokens under which answers are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from facegrep._arguments import check_count
from facegrep._errors import InvalidArgumentError, StoreCorrupt
from facegrep._names import check_library_name, check_name
from facegrep.engine._results import Hit, Page
from facegrep.store import (
    GONE,
    KeptAnswer,
    find_library,
    find_ordinals,
    library_by_id,
    now_ms,
    read_store,
    read_tombstones,
    unpack_faces,
)
from facegrep.vision import Box

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from numpy.typing import NDArray

    from facegrep.engine._results import SearchResult
    from facegrep.store import Answer, AnswerStore, LibraryRow, MediaRow, Store
    from facegrep.vision import Calibration

_SHA256_BYTES = 32


def cut_page(
    store: Store, calibration: Calibration | None, answer: Answer, offset: int, limit: int
) -> Page:
    """Cut hits ``offset`` to ``offset + limit - 1``, without the assets deleted since.

    Probabilities are made from the scores that were kept, so a score has one on every page.

    Raises
    ------
    InvalidArgumentError
        A negative number, or without a threshold a page beyond what was searched for.
    """
    first, count = check_count(offset, "offset"), check_count(limit, "limit")
    reach = len(answer.ordinals)
    if min(first + count, answer.total) > reach:
        raise InvalidArgumentError(
            f"page: without a threshold this answer reaches to {reach} of {answer.total} assets, "
            f"asked for {first} to {first + count}; search again with a larger limit"
        )
    chosen = slice(first, first + count)
    ordinals = answer.ordinals[chosen].tolist()
    with store.catalog.read() as connection:
        library = library_by_id(connection, answer.library_id)
        if library is None:  # dropped, with all it held
            return Page((), 0)
        until_ms = library.expired_until_ms(now_ms())
        rows = find_ordinals(connection, library, ordinals)
        tombstones = read_tombstones(connection, library.id, answer.seq, library.name)
        gone = _count_gone(connection, library, answer, tombstones, until_ms)
    stored = {row.ordinal: row for row in rows}
    if not set(ordinals) <= {GONE, *stored, *tombstones}:
        raise StoreCorrupt(
            f"library {library.name!r}: an asset of an answer is neither there nor deleted; other "
            "libraries of the store are not affected",
            library=library.name,
        )
    hits = []
    places = zip(ordinals, answer.scores[chosen], answer.faces[chosen], strict=True)
    for ordinal, score, face_no in places:
        row = stored.get(ordinal)
        if row is not None and row.added_ms > until_ms:
            box = _box(library.name, row, int(face_no))
            cosine = float(score)
            probability = None if calibration is None else calibration.probability(cosine)
            hits.append(Hit(row.media_id, cosine, box, row.face_count, probability))
    return Page(tuple(hits), answer.total - gone)


def _count_gone(
    connection: sqlite3.Connection,
    library: LibraryRow,
    answer: Answer,
    tombstones: list[int],
    until_ms: int,
) -> int:
    """Count the matches that were deleted since, or have expired, each once."""
    matching = answer.ordinals if answer.matching is None else answer.matching
    if answer.added_ms is None and library.ttl_ms is not None:  # when searched, it had none
        rows = find_ordinals(connection, library, matching.tolist())
        return len(matching) - sum(row.added_ms > until_ms for row in rows)
    gone = matching == GONE
    if tombstones:
        gone |= np.isin(matching, tombstones)
    if answer.added_ms is not None:
        gone |= answer.added_ms <= until_ms
    return int(gone.sum())


@dataclass(frozen=True, slots=True, eq=False)
class FrozenAnswer:
    """An answer kept under a token.

    Attributes
    ----------
    condition
        32 bytes: the condition that it answers.
    embedding
        float32 ``(dim,)``: what was searched for.
    threshold
        The cosine that was required.
    """

    condition: bytes
    embedding: NDArray[np.float32] = field(repr=False)
    threshold: float | None
    _answer: Answer = field(repr=False)
    _cut: Callable[[Answer, int, int], Page] = field(repr=False)

    def page(self, offset: int, limit: int) -> Page:
        """Cut a page, as `SearchResult.page` does."""
        return self._cut(self._answer, offset, limit)


class Answers:
    """An account's answers by token, which the caller chooses.

    They live for a day, survive the process, are seen by every process of the store, and go with
    their library; all together are bounded in bytes, the oldest go first. A readonly engine keeps
    them in memory. Thread-safe.
    """

    def __init__(
        self,
        store: Store,
        account: str,
        actor: str | None,
        calibration_of: Callable[[str | None], Calibration | None],
    ) -> None:
        self._store = store
        self._account = account
        self._actor = actor
        self._calibration_of = calibration_of

    def put(
        self,
        library: str,
        token: str,
        condition: bytes,
        url_sha256: bytes,
        embedding: NDArray[np.float32],
        answer: SearchResult,
    ) -> None:
        """Keep an answer under a token, in place of any earlier one.

        Parameters
        ----------
        library
            The library that was searched.
        token
            A name, as of a library.
        condition, url_sha256
            32 bytes each: of the whole condition, and of where the picture came from.
        embedding
            What was searched for.
        answer
            Kept whole, not its page alone.

        Raises
        ------
        NotFoundError
            No such library.
        InvalidArgumentError
            Names the argument; an answer without a threshold, which is not whole.
        """
        check_library_name(library)
        for value, argument in ((condition, "condition"), (url_sha256, "url_sha256")):
            if len(value) != _SHA256_BYTES:
                raise InvalidArgumentError(f"{argument}: expected {_SHA256_BYTES} bytes")
        if answer.answer.matching is not None:
            raise InvalidArgumentError(
                "answer: expected one with a threshold; without it not every match is known"
            )
        kept = KeptAnswer(condition, embedding, answer.threshold, answer.answer)
        self._kept.put(self._account, check_name(token, "token"), url_sha256, kept)

    def get(self, library: str, token: str) -> FrozenAnswer | None:
        """Return the answer kept under a token; ``None`` when there is none, or no more.

        Raises
        ------
        NotFoundError
            No such library.
        """
        check_name(token, "token")
        check_library_name(library)
        kept_answers = self._kept
        with self._store.catalog.read() as connection:
            row = find_library(connection, self._account, library)
            audited = bool(read_store(connection).search_audit)
        if audited:
            self._store.require_auditable()
        kept = kept_answers.get(self._account, row.id, token)
        if kept is None:
            return None
        if audited:
            details = {"threshold": kept.threshold}
            total = kept.answer.total
            self._store.note_search(row, "answer", self._actor, media=total, details=details)
        calibration = self._calibration_of(row.model)
        return FrozenAnswer(
            condition=kept.condition,
            embedding=kept.embedding,
            threshold=kept.threshold,
            _answer=kept.answer,
            _cut=lambda answer, offset, limit: cut_page(
                self._store, calibration, answer, offset, limit
            ),
        )

    def embedding_of(
        self, library: str, token: str, url_sha256: bytes
    ) -> NDArray[np.float32] | None:
        """Return what a token, while it lives, last searched for, if that came from this URL.

        Another token looks at the URL anew: there may be another picture by now.

        Raises
        ------
        NotFoundError
            No such library.
        """
        check_name(token, "token")
        library_id = self._library_id(library)
        return self._kept.embedding_of(self._account, library_id, token, url_sha256)

    @property
    def _kept(self) -> AnswerStore:
        self._store.catalog.require_open()
        return self._store.answers

    def _library_id(self, library: str) -> int:
        check_library_name(library)
        with self._store.catalog.read() as connection:
            return find_library(connection, self._account, library).id


def _box(library: str, row: MediaRow, face_no: int) -> Box | None:
    try:
        faces = unpack_faces(row.face_data, row.face_count)
    except ValueError as error:
        what = f"library {library!r}, media {row.media_id!r}: {error}"
        raise StoreCorrupt(what, library=library) from error
    # Another analysis may have found fewer faces since.
    if faces is None or not 0 <= face_no < row.face_count:
        return None
    return Box(*map(float, faces[face_no, :4]))
