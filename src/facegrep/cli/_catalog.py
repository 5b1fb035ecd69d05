"""``facegrep libraries``, ``media`` and ``delete``: what is stored."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facegrep.cli._durations import show_duration
from facegrep.cli._opening import open_existing
from facegrep.cli._options import DEFAULT_LIBRARY, JsonOption, LibraryOption, StoreOption
from facegrep.cli._output import show_error, show_json, show_note, show_table

if TYPE_CHECKING:
    from facegrep.engine import Media


def libraries(
    store: StoreOption = None,  # type: ignore[assignment]
    as_json: JsonOption = False,
) -> None:
    """List the libraries of the store."""
    import facegrep

    with facegrep.open(store, readonly=True) as engine:
        found = engine.libraries()
    if as_json:
        show_json(
            [
                {
                    "name": library.name,
                    "model": library.model,
                    "dim": library.dim,
                    "threshold": library.threshold,
                    "face_index": library.face_index,
                    "media_count": library.media_count,
                    "face_count": library.face_count,
                    "created_ms": library.created_ms,
                    "ttl_ms": library.ttl_ms,
                }
                for library in found
            ]
        )
        return
    show_table(
        ["library", "media", "faces", "face index", "model", "dim", "threshold", "kept", "created"],
        (
            (
                library.name,
                library.media_count,
                library.face_count,
                library.face_index,
                library.model,
                library.dim,
                "by model and size" if library.threshold is None else library.threshold,
                show_duration(library.ttl_ms),
                day(library.created_ms),
            )
            for library in found
        ),
        numbers=frozenset({"media", "faces", "dim"}),
    )


def media(
    media_ids: Annotated[
        list[str] | None, typer.Argument(metavar="MEDIA_ID", help="Show these alone.")
    ] = None,
    store: StoreOption = None,  # type: ignore[assignment]
    library: LibraryOption = DEFAULT_LIBRARY,
    after: Annotated[
        str | None, typer.Option("--after", metavar="MEDIA_ID", help="Go on behind this one.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many to list.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List the media of a library, in the order of their ids."""
    import facegrep

    with facegrep.open(store, readonly=True) as engine:
        if media_ids:
            found = [engine.get(library, media_id) for media_id in media_ids]
        else:
            found = engine.media(library, after=after, limit=limit)
        known = engine.library(library).media_count
    if as_json:
        show_json([_media_json(asset) for asset in found])
        return
    show_table(
        ["media", "faces", "type", "namespace", "fields", "added", "analysis"],
        (
            (
                asset.media_id,
                len(asset.faces),
                asset.media_type,
                asset.namespace,
                ", ".join(f"{name}={value}" for name, value in asset.fields.items()) or None,
                day(asset.utc_create_ms),
                asset.job and (asset.job.error or asset.job.status),
            )
            for asset in found
        ),
        numbers=frozenset({"faces"}),
    )
    if not media_ids and len(found) == limit < known:
        show_note(f"{limit} of {known}; for more: --after {found[-1].media_id!r}")


def delete(
    media_ids: Annotated[list[str], typer.Argument(metavar="MEDIA_ID", help="As listed.")],
    store: StoreOption = None,  # type: ignore[assignment]
    library: LibraryOption = DEFAULT_LIBRARY,
    as_json: JsonOption = False,
) -> None:
    """Delete media from a library; the photos themselves stay where they are.

    They are in no answer any more, but their vectors are in the store's files until these are
    compacted; `facegrep erase` instead takes media out of every file. The exit code is 1 when an
    id was not there.
    """
    with open_existing(store) as engine:
        deleted = engine.delete(library, media_ids=media_ids)
    if as_json:
        show_json({"library": library, "deleted": deleted})
    else:
        show_note(f"{deleted} deleted")
    absent = len(set(media_ids)) - deleted
    if absent:
        show_error(f"{absent} of these ids {'were' if absent > 1 else 'was'} not in {library!r}")
        raise typer.Exit(1)


def _media_json(asset: Media) -> dict[str, Any]:
    return {
        "media_id": asset.media_id,
        "media_type": asset.media_type,
        "namespace": asset.namespace,
        "fields": dict(asset.fields),
        "utc_create_ms": asset.utc_create_ms,
        "title": asset.title,
        "source": asset.source,
        "content_sha256": asset.content_sha256,
        "faces": [
            {
                "face_no": face.face_no,
                "box": face.box and face.box._asdict(),
                "score": face.score,
                "precision": face.precision,
            }
            for face in asset.faces
        ],
        "job": asset.job
        and {
            "status": asset.job.status,
            "submit_ms": asset.job.submit_ms,
            "finish_ms": asset.job.finish_ms,
            "error": asset.job.error,
        },
    }


def day(time_ms: int) -> str:
    """Write a time for people, to the minute."""
    try:
        moment = datetime.datetime.fromtimestamp(time_ms / 1000, tz=datetime.UTC)
    except (OverflowError, ValueError, OSError):  # utcCreate may be any int64
        return f"{time_ms} ms"
    return moment.strftime("%Y-%m-%d %H:%M UTC")
