"""What each action takes: one struct an action, one annotated type a kind of parameter.

Values arrive as strings. An empty optional one counts as absent; names that an action does not
take are ignored, as gateways do - except for misspelled ones (see `_refuse_misspelled`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

import msgspec

from facegrep._errors import InvalidArgumentError
from facegrep.engine import DEFAULT_LIBRARY
from facegrep.ice import _bodies, _filters
from facegrep.ice import _parameters as read
from facegrep.ice._errors import IceError, invalid_parameter, missing_parameter


def _reads(reader: Callable[[str], Any]) -> msgspec.Meta:
    return msgspec.Meta(extra={"reader": reader})


def _one_of(*words: str, refused: Mapping[str, str] | None = None) -> msgspec.Meta:
    """Read one of `words`; `refused` has a reason of its own for words that others accept."""

    def reader(raw: str) -> str:
        if raw not in words:
            expected = f"expected {' or '.join(words)}, got {raw!r}"
            raise InvalidArgumentError((refused or {}).get(raw, expected))
        return raw

    return _reads(reader)


Token = Annotated[str, _reads(read.read_name)]
OptionalName = Annotated[str | None, _reads(read.read_name)]
LibraryName = Annotated[str, _reads(read.read_library_name)]
NewLibraryName = Annotated[str, _reads(read.read_new_library_name)]
MediaId = Annotated[str, _reads(read.read_media_id)]
MediaIds = Annotated[tuple[str, ...], _reads(read.read_media_ids)]
Task = Annotated[tuple[str, ...], _reads(read.read_task)]
Url = Annotated[str, _reads(read.read_url)]
PageNo = Annotated[int, _reads(read.read_page_number)]
PageSize = Annotated[int, _reads(read.read_page_size)]
Filters = Annotated[Mapping[str, _filters.Condition], _reads(_filters.read_custom_filters)]
UtcCreate = Annotated[Mapping[str, int] | None, _reads(_filters.read_utc_create)]
LibraryConfig = Annotated[_bodies.LibraryConfig | None, _reads(_bodies.read_library_config)]
Id = Annotated[str, _reads(read.read_name)]
Ids = Annotated[tuple[str, ...] | None, _reads(read.read_ids)]
RecognitionName = Annotated[str, _reads(read.read_recognition_name)]
Description = Annotated[str, _reads(read.read_description)]
EntityInfo = Annotated[str, _reads(_bodies.read_entity_info)]
Algorithm = Annotated[
    Literal["face"],
    _one_of(
        "face",
        refused=dict.fromkeys(
            ("landmark", "object", "logo", "label"), "facegrep recognises faces only"
        ),
    ),
]
MsgBody = Annotated[_bodies.MsgBody, _reads(_bodies.read_msg_body)]
ImagesInput = Annotated[_bodies.ImagesInput | None, _reads(_bodies.read_images_input)]
IndexConfig = Annotated[_bodies.IndexConfig | None, _reads(_bodies.read_index_config)]
IndexStatus = Annotated[Literal["Active", "Deactive"] | None, _one_of("Active", "Deactive")]
IndexType = Annotated[
    Literal["face"],
    _one_of("face", refused=dict.fromkeys(("mm", "aiLabel"), "facegrep has the face index only")),
]
SearchedMediaType = Annotated[
    Literal["image", "video"] | None,
    _one_of("image", "video", refused={"audio": "audio shows no faces; search image or video"}),
]
InsertedMediaType = Annotated[
    Literal["image", "video"],
    _one_of("image", "video", refused={"audio": "audio shows no faces; insert image or video"}),
]


class Request(msgspec.Struct, frozen=True, rename="pascal"):
    """Base of all; `picture_parameter` is the one that a refused picture came by."""

    picture_parameter: ClassVar[str] = "Input"
    is_bare: ClassVar[bool] = False
    """Whether the reply has neither Success nor Code."""


class SearchMediaByFace(Request, frozen=True):
    """Find the media that contain the person of a picture."""

    picture_parameter: ClassVar[str] = "PersonImageUrl"

    person_image_url: Url
    face_search_token: Token
    search_lib_name: LibraryName = DEFAULT_LIBRARY
    media_type: SearchedMediaType = None
    namespace: OptionalName = None
    custom_filters: Filters = {}
    utc_create: UtcCreate = None
    entity_id: OptionalName = None
    page_no: PageNo = 1
    page_size: PageSize = 10


class SearchMediaClipByFace(Request, frozen=True):
    """Find where in one of the media the person of an earlier search is."""

    media_id: MediaId
    face_search_token: Token
    search_lib_name: LibraryName = DEFAULT_LIBRARY
    entity_id: OptionalName = None
    page_no: PageNo = 1
    page_size: PageSize = 10


class CreateSearchLib(Request, frozen=True):
    """Make a library, without an index."""

    search_lib_name: NewLibraryName
    search_lib_config: LibraryConfig = None


class AlterSearchLib(Request, frozen=True):
    """Replace a library's configuration."""

    search_lib_name: LibraryName
    search_lib_config: LibraryConfig = None


class QuerySearchLib(Request, frozen=True):
    """Describe one library."""

    search_lib_name: LibraryName


class DropSearchLib(Request, frozen=True):
    """Delete a library and all that is in it."""

    search_lib_name: LibraryName


class ListSearchLib(Request, frozen=True):
    """Describe the account's libraries, page by page."""

    page_no: PageNo = 1
    page_size: PageSize = 10


class CreateSearchIndex(Request, frozen=True):
    """Give a library its face index."""

    index_type: IndexType
    search_lib_name: LibraryName = DEFAULT_LIBRARY
    index_status: IndexStatus = None
    index_config: IndexConfig = None


class AlterSearchIndex(Request, frozen=True):
    """Switch a library's face index on or off."""

    index_type: IndexType
    search_lib_name: LibraryName = DEFAULT_LIBRARY
    index_status: IndexStatus = None
    index_config: IndexConfig = None


class QuerySearchIndex(Request, frozen=True):
    """Describe a library's face index."""

    index_type: IndexType
    search_lib_name: LibraryName = DEFAULT_LIBRARY


class DropSearchIndex(Request, frozen=True):
    """Take a library's face index away, its vectors with it."""

    index_type: IndexType
    search_lib_name: LibraryName = DEFAULT_LIBRARY


class InsertMediaToSearchLib(Request, frozen=True):
    """Put one asset into a library."""

    input: Url
    search_lib_name: LibraryName = DEFAULT_LIBRARY
    media_id: Annotated[str | None, _reads(read.read_media_id)] = None
    media_type: InsertedMediaType = "video"
    msg_body: MsgBody = _bodies.MsgBody()
    namespace: OptionalName = None
    images_input: ImagesInput = None


class UpdateMediaToSearchLib(Request, frozen=True):
    """Change what is told of an asset; `namespace` must be the one that it has."""

    media_id: MediaId
    msg_body: MsgBody
    search_lib_name: LibraryName = DEFAULT_LIBRARY
    namespace: OptionalName = None


class DeleteMediaFromSearchLib(Request, frozen=True):
    """Take one asset out of a library; `namespace` must be the one that it has.

    The vendor gives `msg_body` no meaning here: it is checked, and that is all.
    """

    media_id: MediaId
    search_lib_name: LibraryName = DEFAULT_LIBRARY
    msg_body: MsgBody = _bodies.MsgBody()
    namespace: OptionalName = None


class QueryMediaIndexJob(Request, frozen=True):
    """Say how far the analysis of an asset is."""

    media_id: MediaId
    search_lib_name: LibraryName = DEFAULT_LIBRARY


class SearchIndexJobRerun(Request, frozen=True):
    """Analyse media again; `namespace` must be the one that each has."""

    media_ids: MediaIds
    task: Task = ("face",)
    search_lib_name: LibraryName = DEFAULT_LIBRARY
    namespace: OptionalName = None


class Recognition(Request, frozen=True):
    """Base of those about recognition libraries."""

    picture_parameter: ClassVar[str] = "ImageUrl"
    is_bare: ClassVar[bool] = True

    algorithm: Algorithm


class RecognitionPage(Recognition, frozen=True):
    """Base of those that list: the page is mandatory, and is called otherwise than elsewhere."""

    page_number: PageNo
    page_size: PageSize


class CreateRecognitionLib(Recognition, frozen=True, kw_only=True):
    """Make a library of people."""

    lib_name: RecognitionName
    lib_description: Description = ""


class ListRecognitionLibs(RecognitionPage, frozen=True, kw_only=True):
    """Describe the account's libraries of people, or those of some ids."""

    lib_id: Ids = None


class DeleteRecognitionLib(Recognition, frozen=True, kw_only=True):
    """Delete a library of people and all that is in it."""

    lib_id: Id


class CreateRecognitionEntity(Recognition, frozen=True, kw_only=True):
    """Add a person."""

    lib_id: Id
    entity_name: RecognitionName
    entity_info: EntityInfo = ""


class ListRecognitionEntities(RecognitionPage, frozen=True, kw_only=True):
    """Describe the people of a library."""

    lib_id: Id


class DeleteRecognitionEntity(Recognition, frozen=True, kw_only=True):
    """Delete a person with their samples."""

    lib_id: Id
    entity_id: Id


class CreateRecognitionSample(Recognition, frozen=True, kw_only=True):
    """Add a photo of a person; the vendor's LabelPrompt is for another algorithm."""

    lib_id: Id
    entity_id: Id
    image_url: Url


class ListRecognitionSamples(RecognitionPage, frozen=True, kw_only=True):
    """Describe the samples of a person, or with ``ANY`` of those of a name."""

    lib_id: Id
    entity_id: Id
    entity_name: Annotated[str | None, _reads(read.read_recognition_name)] = None


class DeleteRecognitionSample(Recognition, frozen=True, kw_only=True):
    """Delete one sample of a person."""

    lib_id: Id
    entity_id: Id
    sample_id: Id


R = TypeVar("R", bound=Request)


def read_request(kind: type[R], params: object) -> R:
    """Read the string parameters of an action.

    Raises
    ------
    IceError
        400 MissingParameter or 400 InvalidParameter, naming the parameter. Missing ones are
        reported first, as the vendor's gateway does.
    """
    if not isinstance(params, Mapping):
        got = type(params).__name__
        raise IceError(400, "InvalidParameter", f"Expected a mapping of parameters, got {got}.")
    _refuse_misspelled(kind, params)
    given = {name: _text(name, params.get(name, "")) for name, *_ in _parameters(kind)}
    for name, _, _, required in _parameters(kind):
        if required and not given[name]:
            raise missing_parameter(name)
    values: dict[str, Any] = {}
    for name, attribute, reader, _ in _parameters(kind):
        if not given[name]:
            continue
        try:
            values[attribute] = reader(given[name])
        except InvalidArgumentError as reason:
            raise invalid_parameter(name, str(reason)) from reason
    return kind(**values)


@cache
def _parameters(kind: type[Request]) -> tuple[tuple[str, str, Callable[[str], Any], bool], ...]:
    """List an action's parameters: wire name, attribute, reader, required."""
    return tuple(
        (field.encode_name, field.name, _reader(field.type), field.required)
        for field in msgspec.structs.fields(kind)
    )


def _reader(annotated: object) -> Callable[[str], Any]:
    _, meta = get_args(annotated)
    reader: Callable[[str], Any] = meta.extra["reader"]
    return reader


def _text(name: str, raw: object) -> str:
    if not isinstance(raw, str):
        raise invalid_parameter(name, f"values are strings, got {type(raw).__name__}")
    try:
        raw.encode()
    except UnicodeEncodeError as error:
        raise invalid_parameter(name, f"not valid Unicode at {error.start}") from error
    return raw


def _refuse_misspelled(kind: type[Request], params: Mapping[object, object]) -> None:
    """Refuse `customFilters`, `custom_filters`, and what the vendor's SDK makes of a dict.

    That is `CustomFilters.strField1=x`. Ignored as unknown names are, they would widen the answer
    to what the caller filtered out, or search another library.
    """
    known = {name.lower(): name for name, *_ in _parameters(kind)}
    for key in map(str, params):
        plain, dot, _ = key.partition(".")
        name = known.get(plain.replace("_", "").lower())
        if name is not None and key != name:
            expected = "one JSON text" if dot else "this spelling"
            raise invalid_parameter(name, f"expected {expected}, got the name {key!r}")
