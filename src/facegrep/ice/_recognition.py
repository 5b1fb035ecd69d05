"""Recognition libraries: people, and the photos by which they are recognised.

Their replies have a shape of their own: lists are nested twice, and what is elsewhere called Total
and PageNo is TotalCount and PageNumber here.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from facegrep._errors import ErasePending
from facegrep.ice import _requests as requests
from facegrep.ice._context import Context, Reply
from facegrep.ice._errors import missing_parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegrep.engine import Sample

_ANY = "ANY"


def create_lib(context: Context, request: requests.CreateRecognitionLib) -> Reply:
    """Make a library of people."""
    made = context.engine.create_recognition_library(
        request.lib_name, description=request.lib_description
    )
    return {"LibId": made.recognition_id}


def list_libs(context: Context, request: requests.ListRecognitionLibs) -> Reply:
    """Describe libraries, in the order of making; ids that are not there count for nothing."""
    wanted = request.lib_id
    described = [
        {"LibId": one.recognition_id, "LibName": one.name, "LibDescription": one.description}
        for one in context.engine.recognition_libraries()
        if wanted is None or one.recognition_id in wanted
    ]
    return _page(request, "Libs", "Lib", described)


def delete_lib(context: Context, request: requests.DeleteRecognitionLib) -> Reply:
    """Delete a library with its people."""
    with contextlib.suppress(ErasePending):  # it is gone; its remains are overwritten later
        context.engine.delete_recognition_library(request.lib_id)
    return {}


def create_entity(context: Context, request: requests.CreateRecognitionEntity) -> Reply:
    """Add a person."""
    made = context.engine.create_entity(
        request.lib_id, request.entity_name, info=request.entity_info
    )
    return {"EntityId": made.entity_id}


def list_entities(context: Context, request: requests.ListRecognitionEntities) -> Reply:
    """Describe the people of a library, in the order of making."""
    described = [
        {"EntityId": one.entity_id, "EntityName": one.name, "EntityInfo": one.info}
        for one in context.engine.entities(request.lib_id)
    ]
    return _page(request, "Entities", "Entity", described)


def delete_entity(context: Context, request: requests.DeleteRecognitionEntity) -> Reply:
    """Delete a person with their samples."""
    with contextlib.suppress(ErasePending):
        context.engine.delete_entity(request.lib_id, request.entity_id)
    return {}


def create_sample(context: Context, request: requests.CreateRecognitionSample) -> Reply:
    """Add a photo of a person; the same again is no change."""
    engine = context.engine
    engine.samples(request.lib_id, request.entity_id)  # is there, before anything is fetched
    data, origin = context.sources.read(request.image_url)
    result = engine.add_sample(request.lib_id, request.entity_id, data, origin=origin)
    return {"SampleId": result.sample.sample_id}


def list_samples(context: Context, request: requests.ListRecognitionSamples) -> Reply:
    """Describe the samples of a person, or those of everybody of a name."""
    engine = context.engine
    if request.entity_id != _ANY:
        samples = engine.samples(request.lib_id, request.entity_id)
    elif request.entity_name is None:
        raise missing_parameter("EntityName")
    else:
        samples = [
            sample
            for entity in engine.entities(request.lib_id)
            if entity.name == request.entity_name
            for sample in engine.samples(request.lib_id, entity.entity_id)
        ]
    return _page(request, "Samples", "Sample", [_described(sample) for sample in samples])


def delete_sample(context: Context, request: requests.DeleteRecognitionSample) -> Reply:
    """Delete one sample; its person stays."""
    with contextlib.suppress(ErasePending):
        context.engine.delete_sample(request.lib_id, request.entity_id, request.sample_id)
    return {}


def _page(
    request: requests.RecognitionPage, outer: str, inner: str, described: Sequence[Reply]
) -> Reply:
    start = (request.page_number - 1) * request.page_size
    return {
        outer: {inner: list(described[start : start + request.page_size])},
        "PageNumber": request.page_number,
        "PageSize": request.page_size,
        "TotalCount": len(described),
    }


def _described(sample: Sample) -> Reply:
    source = sample.source or ""  # of a data: URL nothing is kept
    return {
        "SampleId": sample.sample_id,
        "EntityId": sample.entity_id,
        "LibId": sample.recognition_id,
        "ImageUrl": Path(source).as_uri() if source.startswith("/") else source,
    }
