"""The second door: durable libraries of pictures or vectors.

`open` makes an :class:`Engine`; the other names are what it takes and returns.
"""

from __future__ import annotations

from facegrep.engine._account_contents import AccountContents
from facegrep.engine._audit import AuditEntry, AuditReport
from facegrep.engine._clip_results import Clip, ClipResult, Occurrence
from facegrep.engine._downloads import Fetcher
from facegrep.engine._engine import Engine, open
from facegrep.engine._erasure import ErasePlan
from facegrep.engine._items import Item
from facegrep.engine._people_results import People, PersonFace, UnknownPerson
from facegrep.engine._recognition_results import (
    AddSampleResult,
    Entity,
    RecognisedFace,
    RecognitionLibrary,
    Sample,
)
from facegrep.engine._results import (
    UNSET,
    AddManyResult,
    AddResult,
    FaceIndexStatus,
    Hit,
    IndexingReport,
    IndexJob,
    Library,
    Media,
    Page,
    QueryPhoto,
    SearchResult,
    StoredFace,
)
from facegrep.engine._upkeep import BackupReport, CompactReport, VerifyReport
from facegrep.engine._view import DEFAULT_LIBRARY
from facegrep.store import Damage, Receipt, Rerun, SampleMatch, VideoFacts
from facegrep.video import VideoProgress

__all__ = [
    "DEFAULT_LIBRARY",
    "UNSET",
    "AccountContents",
    "AddManyResult",
    "AddResult",
    "AddSampleResult",
    "AuditEntry",
    "AuditReport",
    "BackupReport",
    "Clip",
    "ClipResult",
    "CompactReport",
    "Damage",
    "Engine",
    "Entity",
    "ErasePlan",
    "FaceIndexStatus",
    "Fetcher",
    "Hit",
    "IndexJob",
    "IndexingReport",
    "Item",
    "Library",
    "Media",
    "Occurrence",
    "Page",
    "People",
    "PersonFace",
    "QueryPhoto",
    "Receipt",
    "RecognisedFace",
    "RecognitionLibrary",
    "Rerun",
    "Sample",
    "SampleMatch",
    "SearchResult",
    "StoredFace",
    "UnknownPerson",
    "VerifyReport",
    "VideoFacts",
    "VideoProgress",
    "open",
]
