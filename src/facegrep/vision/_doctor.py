"""What vision has to work with on this machine, and what is wrong with it."""

from __future__ import annotations

import os
from typing import Any

from facegrep._errors import ModelError
from facegrep.vision._analyzer import FaceAnalyzer
from facegrep.vision._cache import cache_folder
from facegrep.vision._manifest import EmbedderManifest, Model, manifests
from facegrep.vision._runtime import cuda_problem, installed_packages, onnxruntime, package_problem
from facegrep.vision._weights import read_weights, weights_path


def doctor_report() -> dict[str, Any]:
    """Look at the runtime, the models and the cache. Downloads nothing.

    Returns
    -------
    report
        ``onnxruntime`` (package to version), ``provider`` (what a session really runs on, or why
        none runs), ``cuda`` (``"usable"`` or what is missing), ``models`` (name to what was found),
        ``cache`` (folder), ``problems`` (sentences that say what to do, empty when all is well).

    Notes
    -----
    Never raises for what it is there to find. Folds the default model if that was not done yet.
    """
    problems: list[str] = []
    report: dict[str, Any] = {"onnxruntime": installed_packages() or "not installed"}
    if (problem := package_problem()) is not None:
        problems.append(problem)
    try:
        report["provider"] = FaceAnalyzer().provider
    except ModelError as error:
        report["provider"] = "none"
        if str(error) not in problems:
            problems.append(str(error))
    report["cuda"] = _cuda(report["provider"])
    report["models"] = _models(problems)
    report["cache"] = _cache()
    report["problems"] = problems
    return report


def _cuda(provider: str) -> str:
    if provider.startswith("CUDA"):
        return "usable"
    try:
        return cuda_problem(onnxruntime()) or _why_not_cuda()
    except ModelError as error:
        return str(error)


def _why_not_cuda() -> str:
    """There is a GPU, but the default device did not take it: ask for it by name."""
    try:
        return FaceAnalyzer(device="cuda").provider
    except ModelError as error:
        return str(error)


def _models(problems: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        models = manifests()
    except ModelError as error:
        problems.append(str(error))
        return found
    for name, model in models.items():
        found[name] = _weights(model, problems)
    return found


def _weights(model: Model, problems: list[str]) -> str:
    weights = model.manifest.weights
    try:
        # A model without a carrier is optional: its absence is no defect.
        if weights.carrier is None and not weights_path(model).exists():
            return f"{model.manifest.id}: optional, its file is not here"
        read_weights(model)
    except ModelError as error:
        problems.append(str(error))
        return f"{model.manifest.id}: unusable"
    found = f"{model.manifest.id}: sha256 {weights.sha256} verified ({weights.licence})"
    return f"{found}{_calibration(model)}"


def _calibration(model: Model) -> str:
    if not isinstance(model.manifest, EmbedderManifest):
        return ""
    if model.manifest.calibration is None:
        return "; not calibrated"
    return f"; calibrated on {model.manifest.calibration.data}"


def _cache() -> str:
    try:
        folder = cache_folder()
    except RuntimeError as error:
        return f"none ({error}); graphs are derived anew in every process"
    parent = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    writable = parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
    return str(folder) if writable else f"{folder} (not writable; graphs are derived anew)"
