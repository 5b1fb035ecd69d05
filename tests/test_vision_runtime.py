from __future__ import annotations

import ctypes
import importlib.metadata
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from facegrep import DeviceUnavailableError, InvalidArgumentError, ModelError
from facegrep.vision import FaceAnalyzer, _runtime, bench_embed, doctor_report
from facegrep.vision._runtime import CPU, CUDA, cuda_problem, onnxruntime


def _cuda_reason() -> str | None:
    try:
        return cuda_problem(onnxruntime())
    except ModelError as error:
        return str(error)


WITHOUT_CUDA = _cuda_reason()
needs_cuda = pytest.mark.skipif(WITHOUT_CUDA is not None, reason=f"no CUDA: {WITHOUT_CUDA}")


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What pip is made to believe is installed."""
    installed: dict[str, str] = {}

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    return installed


@pytest.mark.parametrize("told", [{}, {"ORT_DISABLE_TELEMETRY": "0"}], ids=["", "told to"])
def test_onnxruntime_reports_nothing_and_keeps_no_id_of_the_machine(
    tmp_path: Path, told: dict[str, str]
) -> None:
    # Telemetry begins with an id and a queue in the home folder, and a thread that sends. CI, where
    # onnxruntime has none by itself, is not in this environment.
    code = (
        "from facegrep.vision import FaceAnalyzer; import numpy;"
        "FaceAnalyzer().analyze([numpy.zeros((64, 64, 3), numpy.uint8)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"HOME": str(tmp_path)} | told, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    kept = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.parent.as_posix() for path in kept} == {".cache/facegrep"}


def test_where_onnxruntime_was_loaded_before_it_is_asked_for_no_more_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[None] = []
    monkeypatch.setattr(onnxruntime(), "disable_telemetry_events", lambda: asked.append(None))
    FaceAnalyzer(device="cpu")
    assert asked


@pytest.mark.skipif(WITHOUT_CUDA is None, reason="this machine has CUDA")
def test_cuda_that_is_not_there_is_an_error_that_says_what_is_missing() -> None:
    with pytest.raises(DeviceUnavailableError, match=r"'cuda' cannot be used: .*(pip|driver)"):
        FaceAnalyzer(device="cuda")


@pytest.mark.skipif(WITHOUT_CUDA is None, reason="this machine has CUDA")
def test_auto_names_the_provider_that_ran() -> None:
    assert FaceAnalyzer().provider == CPU


def test_a_gpu_build_without_a_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: str) -> NoReturn:
        raise OSError(name)

    gpu_build = ModuleType("onnxruntime")
    monkeypatch.setattr(gpu_build, "get_available_providers", lambda: [CUDA, CPU], raising=False)
    monkeypatch.setattr(ctypes, "CDLL", no_library)
    assert "no NVIDIA driver" in str(cuda_problem(gpu_build))


def test_a_session_that_fell_back_to_the_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fallen:
        def get_providers(self) -> list[str]:
            return [CPU]

    said: list[int] = []
    monkeypatch.setattr(onnxruntime(), "preload_dlls", lambda: sys.stdout.write("Failed to load X"))
    monkeypatch.setattr(onnxruntime(), "set_default_logger_severity", said.append)
    monkeypatch.setattr(_runtime, "_session", lambda *_: Fallen())
    with pytest.raises(DeviceUnavailableError, match="Failed to load X"):
        _runtime.cuda_session(b"")
    assert said[-1] == 2


@pytest.mark.parametrize("provider", [CPU, CUDA])
def test_onnxruntime_never_moves_to_another_device_by_itself(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], provider: str
) -> None:
    def broken(*_: object) -> NoReturn:
        raise RuntimeError("the device is out of memory")

    load = _runtime.cpu_session if provider == CPU else _runtime.cuda_session
    session = onnxruntime().InferenceSession
    monkeypatch.setattr(session, "_create_inference_session", broken)
    error = ModelError if provider == CPU else DeviceUnavailableError
    with pytest.raises(error, match="the device is out of memory"):
        load(b"")
    assert capfd.readouterr().out == ""  # onnxruntime prints when it falls back


def test_an_emptied_package_is_diagnosed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    with pytest.raises(ModelError, match="has been emptied; run: pip uninstall"):
        onnxruntime()


def test_no_package_is_diagnosed(monkeypatch: pytest.MonkeyPatch, packages: dict[str, str]) -> None:
    assert packages == {}
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"not installed; run: pip install 'facegrep\[cpu\]'"):
        onnxruntime()
    report = doctor_report()
    assert report["provider"] == "none"
    assert report["problems"]


def test_both_packages_at_once_are_diagnosed(packages: dict[str, str]) -> None:
    packages.update({"onnxruntime": "1", "onnxruntime-gpu": "1"})
    assert any("both installed" in problem for problem in doctor_report()["problems"])


def test_a_healthy_installation_has_no_problems() -> None:
    report = doctor_report()
    assert report["problems"] == []
    assert report["provider"] in (CPU, CUDA)
    assert "verified" in report["models"]["sface"]
    assert "verified" in report["models"]["yunet"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"device": "gpu"},
        {"precision": "fp16"},
        {"precision": "int8", "device": "cuda"},
        {"threads": 0},
        {"threads": 1.5},
        {"threads": "2"},
        {"model": "yunet"},
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError):
        FaceAnalyzer(**arguments)  # type: ignore[arg-type]


def test_the_library_says_nothing_on_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    FaceAnalyzer().analyze([np.zeros((50, 50, 3), np.uint8)])
    assert capfd.readouterr() == ("", "")


def test_no_thread_spins_while_nothing_is_asked() -> None:
    analyzer = FaceAnalyzer(device="cpu")
    analyzer.analyze([np.zeros((64, 64, 3), np.uint8)] * 4)
    before = sum(os.times()[:2])
    time.sleep(0.3)
    assert sum(os.times()[:2]) - before < 0.1


def test_the_bench_covers_every_stage_and_the_graph_as_shipped() -> None:
    told: list[str] = []
    rows = bench_embed(device="cpu", seconds=0.01, progress=told.append)
    assert {row.stage for row in rows} == {"detect", "align", "embed"}
    embeds = {row.graph for row in rows if row.stage == "embed"}
    assert embeds == {"as shipped", "fp32", "int8"}
    assert all(row.faces_per_s > 0 and row.spread >= 0 for row in rows)
    assert len(told) == len(rows) + 1


def test_the_bench_asks_for_a_picture_with_a_face() -> None:
    with pytest.raises(InvalidArgumentError, match="none of the 1 pictures shows a face"):
        bench_embed([np.zeros((64, 64, 3), np.uint8)], device="cpu")


@pytest.mark.gpu
@needs_cuda
def test_cuda_finds_and_embeds_what_the_cpu_does() -> None:
    photos = sorted((Path(__file__).parent / "data" / "portraits").glob("*/*.jpg"))
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in photos] * 10
    gpu, cpu = FaceAnalyzer(device="cuda"), FaceAnalyzer(device="cpu")
    assert gpu.provider == CUDA
    for one, other in zip(gpu.analyze(pictures), cpu.analyze(pictures), strict=True):
        np.testing.assert_allclose(one.faces[0].box, other.faces[0].box, atol=0.1)
        assert one.faces[0].embedding @ other.faces[0].embedding > 0.999


@pytest.mark.gpu
@needs_cuda
def test_cuda_embeds_a_batch_as_its_singles() -> None:
    gpu = FaceAnalyzer(device="cuda")
    crops = np.random.default_rng(0).integers(0, 256, (130, 112, 112, 3), np.uint8)
    singles = np.concatenate([gpu.embed(crop[None]) for crop in crops])
    np.testing.assert_allclose(gpu.embed(crops), singles, atol=1e-4)


@pytest.mark.gpu
@needs_cuda
def test_the_bench_measures_cuda() -> None:
    assert CUDA in {row.provider for row in bench_embed(device="cuda", seconds=0.1)}
