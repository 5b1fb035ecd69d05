"""Assets of a library: put in, described anew, taken out, and how their analysis went."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from facegrep._errors import AlreadyExistsError, NotFoundError, VideoError
from facegrep.engine._items import A_PICTURE
from facegrep.ice import _requests as requests
from facegrep.ice._context import Context, Reply
from facegrep.ice._errors import denied, invalid_parameter, not_found

if TYPE_CHECKING:
    from facegrep.engine import Media


def insert_media(context: Context, request: requests.InsertMediaToSearchLib) -> Reply:
    """Store a video or an image; it is analysed once the reply is given, under an active index.

    A video of the network is looked at, and fetched after the reply, too.
    """
    if request.images_input is not None:
        reason = "pictures of cameras cannot be inserted; insert them one by one, or a video"
        raise invalid_parameter("ImagesInput", reason)
    # Before anything is fetched.
    library = context.engine.library(request.search_lib_name, exact_counts=False)
    media_id = request.media_id or uuid.uuid4().hex
    content: bytes | str | None
    if request.media_type == "video":
        content, origin = context.sources.read_video(request.input)
    else:
        content, origin = context.sources.read(request.input)
    title = request.msg_body.title
    try:
        context.engine.submit(
            library.name,
            media_id=media_id,
            source=content,
            origin=origin,
            media_type=request.media_type,
            namespace=request.namespace,
            fields=request.msg_body.fields(),
            title=None if isinstance(title, UnsetType) else title,
        )
    except AlreadyExistsError as error:
        reason = f"{media_id!r} is in the library already, with other content"
        raise invalid_parameter("MediaId", reason) from error
    except VideoError as error:
        if error.reason != A_PICTURE:
            raise
        # A video is the vendor's default.
        reason = "the Input is a picture: say MediaType=image"
        raise invalid_parameter("MediaType", reason) from error
    return {"MediaId": media_id}


def update_media(context: Context, request: requests.UpdateMediaToSearchLib) -> Reply:
    """Change the title; custom fields are fixed at insert, as the vendor has it."""
    if request.msg_body.customFields is not UNSET:
        raise invalid_parameter("MsgBody", "customFields cannot be modified")
    media = _media(context, request)
    if not isinstance(request.msg_body.title, UnsetType):
        context.engine.update(request.search_lib_name, media.media_id, title=request.msg_body.title)
    return {"MediaId": media.media_id}


def delete_media(context: Context, request: requests.DeleteMediaFromSearchLib) -> Reply:
    """Take an asset out, its faces with it."""
    media = _media(context, request)
    if not context.engine.delete(request.search_lib_name, media_ids=[media.media_id]):
        raise not_found(f"the media {media.media_id!r} does not exist")  # somebody was faster
    return {"MediaId": media.media_id}


def query_media_index_job(context: Context, request: requests.QueryMediaIndexJob) -> Reply:
    """Tell how the analysis of an asset went; no job when none was asked for."""
    job = context.engine.get(request.search_lib_name, request.media_id).job
    if job is None:
        return {"IndexJobInfoList": []}
    described = {"GmtSubmit": _utc(job.submit_ms), "IndexType": "face", "Status": job.status}
    if job.finish_ms is not None:
        described["GmtFinish"] = _utc(job.finish_ms)
    return {"IndexJobInfoList": [described]}


def rerun_index_job(context: Context, request: requests.SearchIndexJobRerun) -> Reply:
    """Analyse media again whose analysis failed or was never made; name those that do not exist."""
    engine, name = context.engine, request.search_lib_name
    library = engine.library(name, exact_counts=False)
    if library.face_index != "active":
        raise denied(f"the search library {library.name!r} has no active face index")
    wanted = list(dict.fromkeys(request.media_ids))
    there = [media_id for media_id in wanted if _is_in(context, request, media_id)]
    engine.rerun_jobs(name, there, fetch=context.sources.fetch_again)
    return {"Data": {"MediaIdsNoExist": [one for one in wanted if one not in there]}}


def _is_in(context: Context, request: requests.SearchIndexJobRerun, media_id: str) -> bool:
    try:
        media = context.engine.get(request.search_lib_name, media_id)
    except NotFoundError:
        return False
    return request.namespace in (None, media.namespace)


def _media(
    context: Context, request: requests.UpdateMediaToSearchLib | requests.DeleteMediaFromSearchLib
) -> Media:
    """Find an asset; one of another namespace is not there."""
    media = context.engine.get(request.search_lib_name, request.media_id)
    if request.namespace is not None and media.namespace != request.namespace:
        raise not_found(
            f"the media {media.media_id!r} is not in the namespace {request.namespace!r}"
        )
    return media


def _utc(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(milliseconds / 1000))
