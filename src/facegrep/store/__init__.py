"""The store: a catalog, segments of vectors, and what searches write. Knows no file's name."""

from __future__ import annotations

from facegrep.store._access import AccessKeyRow, AccessStore
from facegrep.store._answer import Answer
from facegrep.store._answers import GONE, AnswerStore, KeptAnswer
from facegrep.store._assets import Columns, Faces, Job, MediaRow, NewAsset, Outcome
from facegrep.store._audit import AuditEntry as StoredEntry
from facegrep.store._audit import read_entries
from facegrep.store._backup import Copied
from facegrep.store._bulk import NewVectors
from facegrep.store._caches import CacheName, Caches, FileIdentity
from facegrep.store._changes import (
    ChangedAssets,
    count_changes,
    read_asset_codes,
    read_changed_assets,
    read_tombstones,
    require_numbers,
)
from facegrep.store._clock import now_ms
from facegrep.store._compact import MIN_DEAD_SHARE, Rewritten
from facegrep.store._faces import FACE_VALUES, unpack_faces
from facegrep.store._fetched import FetchedFile
from facegrep.store._jobs import Rerun, list_running, list_to_fetch, running_libraries
from facegrep.store._libraries import (
    MAX_DIM,
    LibraryRow,
    find_library,
    insert_library,
    library_by_id,
    library_ids,
    list_libraries,
    list_models,
    same_library,
)
from facegrep.store._media import (
    count_expired,
    find_identities,
    find_media,
    find_ordinals,
    find_pending,
    find_stored,
    list_media,
    list_unanalysed,
)
from facegrep.store._people_rows import FaceKey, read_told
from facegrep.store._receipt import Receipt, contradictions
from facegrep.store._recognition import NewSample
from facegrep.store._recognition_rows import (
    EntityRow,
    RecognitionRow,
    SampleRow,
    find_entity,
    find_recognition,
    list_all_samples,
    list_entities,
    list_recognition,
    list_samples,
    require_entity,
)
from facegrep.store._samples_like import Person, SampleMatch, find_samples_like
from facegrep.store._scrub import ERASE_TIMEOUT_S
from facegrep.store._store import Store
from facegrep.store._store_row import read_store
from facegrep.store._verify import Damage
from facegrep.store._video import Video, VideoFacts, VideoTrack
from facegrep.store._video_rows import read_video, read_video_facts

__all__ = [
    "ERASE_TIMEOUT_S",
    "FACE_VALUES",
    "GONE",
    "MAX_DIM",
    "MIN_DEAD_SHARE",
    "AccessKeyRow",
    "AccessStore",
    "Answer",
    "AnswerStore",
    "CacheName",
    "Caches",
    "ChangedAssets",
    "Columns",
    "Copied",
    "Damage",
    "EntityRow",
    "FaceKey",
    "Faces",
    "FetchedFile",
    "FileIdentity",
    "Job",
    "KeptAnswer",
    "LibraryRow",
    "MediaRow",
    "NewAsset",
    "NewSample",
    "NewVectors",
    "Outcome",
    "Person",
    "Receipt",
    "RecognitionRow",
    "Rerun",
    "Rewritten",
    "SampleMatch",
    "SampleRow",
    "Store",
    "StoredEntry",
    "Video",
    "VideoFacts",
    "VideoTrack",
    "contradictions",
    "count_changes",
    "count_expired",
    "find_entity",
    "find_identities",
    "find_library",
    "find_media",
    "find_ordinals",
    "find_pending",
    "find_recognition",
    "find_samples_like",
    "find_stored",
    "insert_library",
    "library_by_id",
    "library_ids",
    "list_all_samples",
    "list_entities",
    "list_libraries",
    "list_media",
    "list_models",
    "list_recognition",
    "list_running",
    "list_samples",
    "list_to_fetch",
    "list_unanalysed",
    "now_ms",
    "read_asset_codes",
    "read_changed_assets",
    "read_entries",
    "read_store",
    "read_told",
    "read_tombstones",
    "read_video",
    "read_video_facts",
    "require_entity",
    "require_numbers",
    "running_libraries",
    "same_library",
    "unpack_faces",
]
