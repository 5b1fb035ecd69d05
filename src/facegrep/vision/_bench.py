"""How fast faces are found and embedded here, beside the graph as published."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facegrep._errors import InvalidArgumentError
from facegrep.vision._align import align
from facegrep.vision._detector import Detector
from facegrep.vision._embedder import Embedder
from facegrep.vision._graphs import Variant
from facegrep.vision._manifest import DetectorManifest, EmbedderManifest, load_manifest
from facegrep.vision._runtime import CPU, Device, available_cores

# Batches of 8 are there to show that they gain nothing on one core.
_BATCHES = {True: (1, 8), False: (1, 16, 128)}
_RUNS_MIN = 3
_CALLS_PER_THREAD = 4


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One line of ``facegrep bench embed``.

    Attributes
    ----------
    stage
        ``"detect"`` (counts pictures, not faces), ``"align"`` or ``"embed"``.
    graph
        ``"as shipped"`` (merely folded, so that it runs), ``"fp32"`` or ``"int8"``.
    provider, threads, batch
        What ran, on how many cores at once, on how many pictures or faces a call.
    faces_per_s, ms_per_face
        From the median call.
    spread
        Half the distance between the quartiles, as a share of the median.
    """

    stage: str
    graph: str
    provider: str
    threads: int
    batch: int
    faces_per_s: float
    ms_per_face: float
    spread: float


class _Task(NamedTuple):
    stage: str
    graph: str
    provider: str
    threads: int
    batch: int
    run: Callable[[], object]


def bench_embed(
    pictures: Sequence[NDArray[np.uint8]] | None = None,
    *,
    model: str = "sface",
    device: Device = "auto",
    seconds: float = 20.0,
    progress: Callable[[str], None] | None = None,
) -> list[BenchRow]:
    """Measure each stage of vision.

    Parameters
    ----------
    pictures
        RGB, uint8 (h, w, 3); the first that shows a face is used. None stands for noise of
        640x640 with a face assumed in it: the work does not depend on what the pixels show.
    seconds
        Time to measure for, over all rows; loading the models comes on top.
    progress
        Told what is measured next.

    Raises
    ------
    InvalidArgumentError
        None of the pictures shows a face.
    """
    tell = progress or (lambda _: None)
    tell("loading the models")
    tasks = list(_tasks(pictures, model, device))
    rows = []
    for task in tasks:
        tell(f"{task.stage} {task.graph}, {task.threads} x batch {task.batch}")
        rows.append(_measure(task, seconds / len(tasks)))
    return rows


def _tasks(
    pictures: Sequence[NDArray[np.uint8]] | None, name: str, device: Device
) -> Iterator[_Task]:
    model = load_manifest(name)
    if not isinstance(model.manifest, EmbedderManifest):
        raise InvalidArgumentError(f"model {name!r} does not embed faces")
    detecting = load_manifest(model.manifest.detector)
    if not isinstance(detecting.manifest, DetectorManifest):
        raise InvalidArgumentError(f"model {detecting.name!r} does not find faces")
    detector = Detector(detecting, detecting.manifest, device)
    picture, landmarks = _face(pictures, detector, model.manifest)
    detect = partial(detector.look, [detector.canvas(picture)])
    yield _Task("detect", "as shipped", detector.provider, 1, 1, detect)
    cut = partial(align, picture, landmarks, model.manifest.crop)
    yield _Task("align", "", "", 1, 1, cut)

    graphs: list[tuple[str, Variant, Device]] = [
        ("as shipped", "folded", "cpu"),
        ("fp32", "fp32", device),
    ]
    if model.manifest.int8 is not None:
        graphs.append(("int8", "int8", "cpu"))
    for graph, variant, where in graphs:
        embedder = Embedder(model, model.manifest, variant, where)
        on_cpu = embedder.provider == CPU
        for batch in _BATCHES[on_cpu]:
            embed = partial(embedder.embed, np.stack([cut()] * batch))
            yield _Task("embed", graph, embedder.provider, 1, batch, embed)
        if on_cpu and (cores := available_cores()) > 1:
            one = partial(embedder.embed, np.stack([cut()]))
            yield _Task("embed", graph, embedder.provider, cores, 1, partial(_at_once, one, cores))


def _face(
    pictures: Sequence[NDArray[np.uint8]] | None, detector: Detector, manifest: EmbedderManifest
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a picture and the landmarks of a face in it."""
    if pictures is None:
        noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3), np.uint8)
        return noise, np.array(manifest.crop.landmarks_px, np.float32) * 2 + 200
    for picture in pictures:
        faces = detector.find([picture], [detector.canvas(picture)])[0].faces
        if faces:
            return picture, faces[0].landmarks
    raise InvalidArgumentError(f"none of the {len(pictures)} pictures shows a face")


def _at_once(run: Callable[[], object], callers: int) -> None:
    """Call from several threads, some times each, so that starting them does not count."""
    with ThreadPoolExecutor(callers) as pool:
        for done in [pool.submit(run) for _ in range(_CALLS_PER_THREAD * callers)]:
            done.result()


def _measure(task: _Task, seconds: float) -> BenchRow:
    task.run()
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(times) < _RUNS_MIN or time.perf_counter() < deadline:
        started = time.perf_counter()
        task.run()
        times.append(time.perf_counter() - started)
    first, median, third = statistics.quantiles(times, n=4)
    faces = task.batch * (_CALLS_PER_THREAD * task.threads if task.threads > 1 else 1)
    return BenchRow(
        *task[:5],
        faces_per_s=faces / median,
        ms_per_face=1000 * median / faces,
        spread=(third - first) / 2 / median,
    )
