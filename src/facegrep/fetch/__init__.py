"""Pictures and videos from the network by the URL of a stranger. Needs the extra ``server``."""

from __future__ import annotations

from facegrep.fetch._fetcher import MAX_FETCH_BYTES, MAX_VIDEO_FETCH_BYTES, PictureFetcher

__all__ = ["MAX_FETCH_BYTES", "MAX_VIDEO_FETCH_BYTES", "PictureFetcher"]
