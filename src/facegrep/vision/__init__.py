"""Faces from pictures: detect, align, embed. Imports onnxruntime when a `FaceAnalyzer` is made."""

from __future__ import annotations

from facegrep.vision._analyzer import FaceAnalyzer
from facegrep.vision._bench import BenchRow, bench_embed
from facegrep.vision._calibration import Calibration
from facegrep.vision._doctor import doctor_report
from facegrep.vision._faces import (
    Analysis,
    Box,
    Detections,
    Face,
    FoundFace,
    Quality,
    RefusedFace,
    Verdict,
)
from facegrep.vision._graphs import Precision
from facegrep.vision._manifest import (
    DetectorManifest,
    EmbedderManifest,
    Manifest,
    Model,
    QualityLimits,
    load_manifest,
    manifests,
)
from facegrep.vision._quality import assess
from facegrep.vision._runtime import Device

__all__ = [
    "Analysis",
    "BenchRow",
    "Box",
    "Calibration",
    "Detections",
    "DetectorManifest",
    "Device",
    "EmbedderManifest",
    "Face",
    "FaceAnalyzer",
    "FoundFace",
    "Manifest",
    "Model",
    "Precision",
    "Quality",
    "QualityLimits",
    "RefusedFace",
    "Verdict",
    "assess",
    "bench_embed",
    "doctor_report",
    "load_manifest",
    "manifests",
]
