"""Which cosine must a match reach, and why that one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from facegrep._arguments import check_threshold
from facegrep._errors import InvalidArgumentError
from facegrep.store import count_expired

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from facegrep.store import LibraryRow
    from facegrep.vision import EmbedderManifest

Threshold: TypeAlias = float | Literal["library"] | None

FALSE_MATCHES_EXPECTED: Final = 0.1
"""At the threshold that follows a library's size, in each search of someone who is not in it."""


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """A threshold, once it is known how many faces are searched.

    Attributes
    ----------
    value, reason
        What holds where the library's size does not matter.
    manifest
        The model that it follows, with the library's size; ``None``: `value`, whatever the size.
    """

    value: float | None
    reason: str
    manifest: EmbedderManifest | None = None

    def among(self, faces: int) -> tuple[float | None, str]:
        """Return the cosine and the reason for it.

        Parameters
        ----------
        faces
            All that are live in the library, whatever a search's filter leaves of them: a filter
            that lowered the threshold would add matches.
        """
        if self.value is None or self.manifest is None or self.manifest.calibration is None:
            return self.value, self.reason
        calibration = self.manifest.calibration
        if calibration.false_match_rate(self.value) * faces <= FALSE_MATCHES_EXPECTED:
            return self.value, self.reason
        needed = calibration.threshold_at(FALSE_MATCHES_EXPECTED / faces)
        return needed, (
            f"at most {FALSE_MATCHES_EXPECTED} false matches expected among {faces:,} faces "
            f"by model {self.manifest.id}"
        )


def threshold_rule(
    library: LibraryRow, asked: object, manifest_of: Callable[[str], EmbedderManifest]
) -> ThresholdRule:
    """Return which threshold a search asks for.

    Raises
    ------
    InvalidArgumentError
        Not a cosine; or the library's, and it has none.
    ModelError
        The library's, and its model's manifest cannot be read.
    """
    if asked is None:
        return ThresholdRule(None, "none: the best, whatever their score")
    if not isinstance(asked, str) or asked != "library":
        return ThresholdRule(check_threshold(asked), "asked for")
    if library.threshold is not None:
        return ThresholdRule(library.threshold, f"set for library {library.name!r}")
    if library.model is None:
        raise InvalidArgumentError(
            f"threshold: library {library.name!r} has no model and no threshold of its own; "
            "give one here, or with set_threshold"
        )
    manifest = manifest_of(library.model)
    return ThresholdRule(manifest.threshold_floor, f"the floor of model {manifest.id}", manifest)


def live_faces(connection: sqlite3.Connection, library: LibraryRow) -> int:
    """Count the faces that a search would be among."""
    return library.face_count - count_expired(connection, library)[1]
