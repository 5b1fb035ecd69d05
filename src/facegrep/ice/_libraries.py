"""Search libraries and their face index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegrep._errors import AlreadyExistsError
from facegrep.ice import _requests as requests
from facegrep.ice._bodies import LibraryConfig
from facegrep.ice._context import Context, Reply
from facegrep.ice._errors import invalid_parameter, missing_parameter, not_found

if TYPE_CHECKING:
    from facegrep.engine import FaceIndexStatus, Library

_TO_ENGINE: dict[str, FaceIndexStatus] = {"Active": "active", "Deactive": "deactive"}


def create_search_lib(context: Context, request: requests.CreateSearchLib) -> Reply:
    """Make a library without an index: it stores what is inserted and searches nothing yet."""
    name, config = request.search_lib_name, request.search_lib_config or LibraryConfig()
    try:
        context.engine.create_library(
            name, face_index=None, config=config.raw, recognition=config.recognition
        )
    except AlreadyExistsError as error:
        raise invalid_parameter("SearchLibName", f"{name!r} exists already") from error
    return {"SearchLibName": name}


def alter_search_lib(context: Context, request: requests.AlterSearchLib) -> Reply:
    """Replace the configuration, if one is given."""
    name = context.engine.library(request.search_lib_name).name
    config = request.search_lib_config
    if config is not None:
        context.engine.set_config(name, config.raw, recognition=config.recognition)
    return {"SearchLibName": name}


def query_search_lib(context: Context, request: requests.QuerySearchLib) -> Reply:
    """Describe a library."""
    return _described(context.engine.library(request.search_lib_name))


def list_search_lib(context: Context, request: requests.ListSearchLib) -> Reply:
    """Describe the libraries of a page, by name."""
    libraries = context.engine.libraries()
    start = (request.page_no - 1) * request.page_size
    page = libraries[start : start + request.page_size]
    return {"Total": len(libraries), "SearchLibInfoList": [_described(one) for one in page]}


def drop_search_lib(context: Context, request: requests.DropSearchLib) -> Reply:
    """Delete a library with its media, vectors and frozen answers."""
    context.engine.drop_library(request.search_lib_name)
    return {}


def create_search_index(context: Context, request: requests.CreateSearchIndex) -> Reply:
    """Make the face index; active, it analyses what the library has. Made twice alike, it stays."""
    library = context.engine.library(request.search_lib_name)
    wanted = _TO_ENGINE[request.index_status or "Active"]
    if library.face_index not in (None, wanted):
        reason = f"the face index is {_wire(library)} already; AlterSearchIndex changes it"
        raise invalid_parameter("IndexStatus", reason)
    if library.face_index is None:
        _set_face_index(context, library.name, wanted)
    return {}


def alter_search_index(context: Context, request: requests.AlterSearchIndex) -> Reply:
    """Switch the face index; off erases the vectors, on analyses again what can be read."""
    if request.index_status is None and request.index_config is None:
        raise missing_parameter("IndexStatus")
    library = _with_index(context, request.search_lib_name)
    if request.index_status is not None:
        _set_face_index(context, library.name, _TO_ENGINE[request.index_status])
    return {}


def query_search_index(context: Context, request: requests.QuerySearchIndex) -> Reply:
    """Describe the face index; an index that is off holds no media."""
    library = _with_index(context, request.search_lib_name)
    return {
        "IndexStatus": _wire(library),
        "IndexType": request.index_type,
        "MediaTotal": str(library.media_count if library.face_index == "active" else 0),
        "SearchLibName": library.name,
    }


def drop_search_index(context: Context, request: requests.DropSearchIndex) -> Reply:
    """Take the face index away and erase its vectors."""
    library = _with_index(context, request.search_lib_name)
    context.engine.set_face_index(library.name, None)
    return {}


def _set_face_index(context: Context, name: str, status: FaceIndexStatus) -> None:
    # Media whose picture cannot be read again get a failed job, and the others their faces.
    context.engine.set_face_index(name, status, fetch=context.sources.fetch_again)


def _with_index(context: Context, name: str) -> Library:
    library = context.engine.library(name)
    if library.face_index is None:
        raise not_found(f"the search library {name!r} has no face index")
    return library


def _wire(library: Library) -> str:
    return "Active" if library.face_index == "active" else "Deactive"


def _described(library: Library) -> Reply:
    index = {"IndexType": "face", "IndexStatus": _wire(library), "IndexReadiness": "Normal"}
    return {
        "SearchLibName": library.name,
        "Status": "normal",
        "IndexInfo": [] if library.face_index is None else [index],
        "SearchLibConfig": library.config,
    }
