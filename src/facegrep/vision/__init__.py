"""Faces from pictures: detect, align, embed. Imports onnxruntime when a `FaceAnalyzer` is made."""

from __future__ import annotations

from facegrep.vision._analyzer import FaceAnalyzer
from facegrep.vision._bench import BenchRow, bench_embed
from facegrep.vision._doctor import doctor_report
from facegrep.vision._faces import Analysis, Box, Detections, Face, FoundFace, RefusedFace
from facegrep.vision._graphs import Precision
from facegrep.vision._manifest import (
    DetectorManifest,
    EmbedderManifest,
    Manifest,
    Model,
    load_manifest,
    manifests,
)
from facegrep.vision._runtime import Device

__all__ = [
    "Analysis",
    "BenchRow",
    "Box",
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
    "RefusedFace",
    "bench_embed",
    "doctor_report",
    "load_manifest",
    "manifests",
]
