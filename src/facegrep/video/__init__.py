"""Who appears in a video, when and where. Imports PyAV when a video is analysed."""

from __future__ import annotations

from facegrep.video._analyze import analyze_video
from facegrep.video._limits import VideoLimits
from facegrep.video._results import PixelBox, Template, Track, VideoAnalysis, VideoProgress
from facegrep.video._stages import Stages

__all__ = [
    "PixelBox",
    "Stages",
    "Template",
    "Track",
    "VideoAnalysis",
    "VideoLimits",
    "VideoProgress",
    "analyze_video",
]
