"""SearchMediaClipByFace: where in one medium is the person of an earlier search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegrep.ice._context import Context, Reply
from facegrep.ice._errors import denied, invalid_parameter
from facegrep.ice._requests import SearchMediaClipByFace

if TYPE_CHECKING:
    from facegrep.engine import Clip, Occurrence


def search_media_clip_by_face(context: Context, request: SearchMediaClipByFace) -> Reply:
    """Answer from what is stored now, with the embedding and threshold kept under the token."""
    library = context.engine.library(request.search_lib_name, exact_counts=False)
    if library.face_index != "active":
        raise denied(f"the search library {library.name!r} has no active face index")
    frozen = context.engine.answers.get(request.search_lib_name, request.face_search_token)
    if frozen is None:
        reason = "nothing was searched for under it, or it is over; call SearchMediaByFace first"
        raise invalid_parameter("FaceSearchToken", reason)
    found = context.engine.clips(
        request.search_lib_name, request.media_id, frozen, recognised=request.entity_id
    )
    start = (request.page_no - 1) * request.page_size
    page = found.clips[start : start + request.page_size]
    return {"MediaClipList": [_described(clip) for clip in page], "Total": len(found)}


def _described(clip: Clip) -> Reply:
    # Without a calibration the cosine stands in, as far as it is between 0 and 1.
    score = max(clip.score, 0.0) if clip.probability is None else clip.probability
    who = {"Category": "unknown"}
    if clip.entity_id is not None:
        who = {"EntityId": clip.entity_id, "LabelName": clip.name or "", "Category": "custom"}
    return {
        "Score": min(score, 1.0),
        **who,
        "OccurrencesInfos": [_occurrence(one) for one in clip.occurrences],
    }


def _occurrence(occurrence: Occurrence) -> Reply:
    moments = zip(occurrence.times_ms.tolist(), occurrence.boxes.tolist(), strict=True)
    return {
        "StartTime": occurrence.start_ms / 1000,
        "EndTime": occurrence.end_ms / 1000,
        "TrackData": [
            {"Timestamp": time_ms / 1000, "BoxPosition": {"X": x, "Y": y, "W": width, "H": height}}
            for time_ms, (x, y, width, height) in moments
        ],
    }
