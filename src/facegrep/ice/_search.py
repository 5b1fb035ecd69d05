"""SearchMediaByFace: one question, one frozen answer, page by page."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from facegrep._stages import stage
from facegrep._where import canonical_where
from facegrep.ice._context import Context, Reply
from facegrep.ice._errors import denied
from facegrep.ice._requests import SearchMediaByFace

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegrep.engine import Page, SearchResult


def search_media_by_face(context: Context, request: SearchMediaByFace) -> Reply:
    """Answer page 1 from what is stored now and freeze it; cut later pages from that answer."""
    library = context.engine.library(request.search_lib_name, exact_counts=False)
    if library.face_index != "active":
        raise denied(f"the search library {library.name!r} has no active face index")
    if library.model is None:
        raise denied(f"the search library {library.name!r} holds vectors, without a model")
    # Before the token is looked at: it opens no picture that this service may not read.
    read_picture, _ = context.sources.locate(request.person_image_url)
    page = _frozen_page(context, request)
    if page is None:
        page = _fresh_page(context, request, read_picture)
    return {
        "MediaInfoList": [{"MediaId": hit.media_id} for hit in page.hits],
        "Total": page.total,
    }


def _frozen_page(context: Context, request: SearchMediaByFace) -> Page | SearchResult | None:
    if request.page_no == 1:
        return None
    frozen = context.engine.answers.get(request.search_lib_name, request.face_search_token)
    if frozen is None or frozen.condition != _condition(request):
        return None
    return frozen.page(_offset(request), request.page_size)


def _fresh_page(
    context: Context, request: SearchMediaByFace, read_picture: Callable[[], bytes]
) -> SearchResult:
    answers = context.engine.answers
    url_sha256 = sha256(request.person_image_url.encode()).digest()
    known = answers.embedding_of(request.search_lib_name, request.face_search_token, url_sha256)
    result = context.engine.search(
        request.search_lib_name,
        None if known is not None else read_picture(),
        vector=known,
        limit=request.page_size,
        offset=_offset(request),
        where=_where(request),
        recognised=request.entity_id,
    )
    with stage("keep"):
        answers.put(
            request.search_lib_name,
            request.face_search_token,
            _condition(request),
            url_sha256,
            result.embedding,
            result,
        )
    return result


def _offset(request: SearchMediaByFace) -> int:
    # Below int64's end, which no answer reaches.
    return min((request.page_no - 1) * request.page_size, 2**62)


def _where(request: SearchMediaByFace) -> dict[str, Any]:
    where: dict[str, Any] = dict(request.custom_filters)
    if request.media_type is not None:
        where["mediaType"] = request.media_type
    if request.namespace is not None:
        where["namespace"] = request.namespace
    if request.utc_create is not None:
        where["utcCreate"] = request.utc_create
    return where


def _condition(request: SearchMediaByFace) -> bytes:
    """Digest what makes two requests one search, whatever their spelling and page."""
    parts = [request.person_image_url, canonical_where(_where(request)), request.entity_id]
    return sha256(json.dumps(parts).encode()).digest()
