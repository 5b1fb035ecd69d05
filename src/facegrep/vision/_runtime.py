"""onnxruntime: imported late, diagnosed when not whole, asked for a device, kept silent.

Silent in both senses: nothing on stdout, and nothing sent to its maker (`onnxruntime`).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.metadata
import io
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from facegrep._errors import DeviceUnavailableError, InvalidArgumentError, ModelError

Device = Literal["auto", "cpu", "cuda"]
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
_WARNING, _FATAL = 2, 4
_PACKAGES = ("onnxruntime", "onnxruntime-gpu")
_REINSTALL = (
    "run: pip uninstall -y onnxruntime onnxruntime-gpu, then install one: "
    "pip install 'facegrep[cpu]' or pip install 'facegrep[gpu]'"
)


class Tensor(Protocol):
    """An input or output of a graph."""

    name: str


class Session(Protocol):
    """What facegrep uses of onnxruntime.InferenceSession."""

    def get_inputs(self) -> Sequence[Tensor]: ...
    def get_outputs(self) -> Sequence[Tensor]: ...
    def get_providers(self) -> list[str]: ...
    def run(self, names: list[str], feed: dict[str, NDArray[np.float32]]) -> list[Any]: ...
    def io_binding(self) -> Any: ...  # noqa: ANN401 - onnxruntime has no types
    def run_with_iobinding(self, binding: object) -> None: ...


def installed_packages() -> dict[str, str]:
    """Return the versions of the onnxruntime packages that are installed, by package name."""
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def package_problem() -> str | None:
    """Say what is wrong with the installed onnxruntime packages, None when nothing is."""
    packages = installed_packages()
    if not packages:
        return "onnxruntime is not installed; run: pip install 'facegrep[cpu]' (or [gpu])"
    if len(packages) > 1:
        return (
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files; "
            + _REINSTALL
        )
    return None


def onnxruntime() -> ModuleType:
    """Import onnxruntime, without its telemetry.

    Raises
    ------
    ModelError
        It is not installed, or an empty folder is left of it: uninstalling one of its two
        packages takes the files of the other along.

    Notes
    -----
    From 1.29 on, loading its Linux wheels starts a thread that reports the models and the machine
    over the network, under an id that it keeps in the user's cache folder. The variable is read
    once, when it loads, and is the only way to have none of that. Where the program had loaded it
    before, what remains is to ask for no further events: those about our models among them.
    """
    if "onnxruntime" not in sys.modules:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        module = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ModelError(package_problem() or f"onnxruntime does not load: {error}") from error
    if not hasattr(module, "InferenceSession"):
        raise ModelError(f"the package onnxruntime has been emptied; {_REINSTALL}")
    module.disable_telemetry_events()
    return module


def wants_cuda(device: Device) -> bool:
    """Whether to try CUDA, as far as can be told without loading a graph.

    Raises
    ------
    InvalidArgumentError
        Not a device.
    DeviceUnavailableError
        ``"cuda"`` was asked for and is not to be had; the message says what is missing.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InvalidArgumentError(f"device: expected 'auto', 'cpu' or 'cuda', got {device!r}")
    if device == "cpu":
        return False
    problem = cuda_problem(onnxruntime())
    if problem is not None and device == "cuda":
        raise DeviceUnavailableError(f"device 'cuda' cannot be used: {problem}")
    return problem is None


def cpu_session(graph: bytes) -> Session:
    """Load an ONNX graph into a session that runs in the thread which calls it, from any thread.

    Raises
    ------
    ModelError
        onnxruntime is missing, or cannot load the graph.
    """
    return _session(onnxruntime(), graph, [CPU])


def cuda_session(graph: bytes) -> Session:
    """Load an ONNX graph onto the GPU.

    Raises
    ------
    DeviceUnavailableError
        CUDA cannot load the graph, or would have left it to the CPU; the message says what
        onnxruntime complained of, or which libraries are missing.
    ModelError
        onnxruntime is missing.
    """
    runtime = onnxruntime()
    # preload_dlls prints what it misses instead of raising: that is the reason to give.
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        if hasattr(runtime, "preload_dlls"):
            runtime.preload_dlls()
    # Full fp32 products: TF32 would move scores by 1e-3. Algorithms are chosen by rule, not by
    # trial, since canvas sizes vary.
    options = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    runtime.set_default_logger_severity(_FATAL)
    try:
        session = _session(runtime, graph, [(CUDA, options), CPU])
    except ModelError as error:
        raise DeviceUnavailableError(f"device 'cuda' cannot be used: {error}") from error
    finally:
        runtime.set_default_logger_severity(_WARNING)
    if session.get_providers()[0] != CUDA:
        missing = " ".join(said.getvalue().split()) or "its libraries do not load"
        raise DeviceUnavailableError(
            f"device 'cuda' cannot be used: {missing}; run: pip install "
            "'onnxruntime-gpu[cuda,cudnn]'"
        )
    return session


def cuda_problem(runtime: ModuleType) -> str | None:
    """Say why CUDA cannot even be tried, None when it can."""
    # Asked of the driver itself: onnxruntime lists CUDA on machines without a GPU, too, and
    # complains on stderr when it is tried there.
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver on this machine (libcuda.so.1 is missing)"
    count = ctypes.c_int(0)
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0:
        return f"the NVIDIA driver does not start (CUDA error {status})"
    if count.value == 0:
        return "the NVIDIA driver sees no GPU"
    if CUDA not in runtime.get_available_providers():
        return package_problem() or (
            "the installed onnxruntime is the CPU build; run: pip uninstall -y onnxruntime, "
            "then pip install 'facegrep[gpu]'"
        )
    return None


def _session(runtime: ModuleType, graph: bytes, providers: list[Any]) -> Session:
    options = runtime.SessionOptions()
    # One thread, the caller's: two callers embed 112 faces/s on two cores where one embeds 58.
    # Threads inside a session would compete with the callers, and spin while they wait.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _FATAL
    # Plans made for one canvas size are of no use for the next.
    options.enable_mem_pattern = False
    try:
        # Its fallback would print, and move to the CPU, also in the middle of a run.
        session: Session = runtime.InferenceSession(
            graph, options, providers=providers, enable_fallback=False
        )
    except Exception as error:  # onnxruntime's errors share no base but Exception
        raise ModelError(f"onnxruntime cannot load the graph: {error}") from error
    return session


def available_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
