"""What the Engine returns of the unknown people of a library: plain, frozen values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeAlias

from facegrep._arguments import shown
from facegrep._errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facegrep.vision import Box

Face: TypeAlias = tuple[str, int]
"""The id of an asset, and the number of a face in it."""


@dataclass(frozen=True, slots=True)
class PersonFace:
    """A face of an asset.

    Attributes
    ----------
    media_id, face_no
        The asset, and the face's number in it.
    box
        Where it is, in px of the upright original; ``None`` when it came as a vector.
    score
        Its cosine with the mean of the person's faces; 1 when it is alone.
    """

    media_id: str
    face_no: int
    box: Box | None
    score: float

    @property
    def face_id(self) -> str:
        """``MEDIA_ID#FACE_NO``."""
        return face_id((self.media_id, self.face_no))


@dataclass(frozen=True, slots=True)
class UnknownPerson:
    """Faces that seem to be one person's.

    Attributes
    ----------
    person_id
        The first of the faces by media id and number, as a `PersonFace.face_id`. Any face's id
        stands for the person it is of: what was given out stays good as long as that face is there.
    best
        The face to show: it is like the others, and a good picture.
    faces
        The most typical first.
    media_count
        In how many assets.
    told
        Whether `Engine.merge_people` or `Engine.split_person` said so, of some of them.
    """

    person_id: str
    best: PersonFace
    faces: tuple[PersonFace, ...]
    media_count: int
    told: bool

    @property
    def face_count(self) -> int:
        """How many faces."""
        return len(self.faces)


@dataclass(frozen=True, slots=True)
class People:
    """The unknown people of a library. Iterating, indexing and ``len`` are those of ``people``.

    Attributes
    ----------
    people
        Those with most faces first; of as many, by ``person_id``.
    unclustered
        Faces that belong to nobody, by media id and number.
    recognised
        Faces left out, since they are of a person of the library's recognition libraries.
    threshold, threshold_reason
        The mean cosine that was required, and where it came from.
    """

    library: str
    people: tuple[UnknownPerson, ...]
    unclustered: tuple[PersonFace, ...]
    recognised: int
    threshold: float
    threshold_reason: str

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data, for JSON."""
        return asdict(self)

    def __iter__(self) -> Iterator[UnknownPerson]:
        return iter(self.people)

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, position: int) -> UnknownPerson:
        return self.people[position]


def face_id(face: Face) -> str:
    """Write the id of a face."""
    return f"{face[0]}#{face[1]}"


def read_face_id(value: object, argument: str) -> Face:
    """Read the id of a face.

    Raises
    ------
    InvalidArgumentError
        It is none; names the argument.
    """
    if isinstance(value, PersonFace):
        return value.media_id, value.face_no
    media_id, _, number = value.rpartition("#") if isinstance(value, str) else ("", "", "")
    if not media_id or not (number.isascii() and number.isdigit() and len(number) < 10):
        raise InvalidArgumentError(
            f"{argument}: expected the id of a face, MEDIA_ID#FACE_NO, got {shown(value)}"
        )
    return media_id, int(number)
