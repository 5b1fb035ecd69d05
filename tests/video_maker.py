"""Videos made of photos, so that it is known who is where, and when."""

from __future__ import annotations

import importlib
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Place = tuple[float, float, float]
PORTRAITS = Path(__file__).parent / "data" / "portraits"
MACRON, MACRON_LATER = (PORTRAITS / "Emmanuel_Macron" / f"person_a_{n}.jpg" for n in (1, 2))
ARDERN, ARDERN_LATER = (PORTRAITS / "Jacinda_Ardern" / f"person_b_{n}.jpg" for n in (1, 2))
OBAMA = PORTRAITS / "Barack_Obama" / "impostor_1.jpg"
SUNAK = PORTRAITS / "Rishi_Sunak" / "impostor_2.jpg"


@dataclass(frozen=True)
class Actor:
    """A photo that is shown from one second of a scene until another; ``None`` is a dark board.

    ``place`` gives its centre and width for a second of the scene, as shares of the frame's width
    (x, width) and height (y).
    """

    photo: Path | None
    place: Callable[[float], Place]
    start_s: float = 0.0
    end_s: float = float("inf")


@dataclass(frozen=True)
class Scene:
    """A shot. Later actors stand before earlier ones."""

    seconds: float
    actors: Sequence[Actor] = ()
    backdrop: int = 0
    """A seed: other numbers, other backdrops."""


def still(x: float = 0.5, y: float = 0.5, width: float = 0.4) -> Callable[[float], Place]:
    return lambda _: (x, y, width)


def moving(start: Place, end: Place, start_s: float, end_s: float) -> Callable[[float], Place]:
    """From one place to the other, between two seconds of the scene."""

    def place(second: float) -> Place:
        share = min(max((second - start_s) / (end_s - start_s), 0.0), 1.0)
        x, y, width = (a + (b - a) * share for a, b in zip(start, end, strict=True))
        return x, y, width

    return place


def backdrop(seed: int, width: int, height: int) -> Pixels:
    """Coloured blocks of several sizes, like a room out of focus."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for cells in (3, 6, 12):
        coarse = rng.integers(0, 256, (cells, cells * 2, 3), np.uint8)
        total += (
            np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
            / 3
        )
    return total.astype(np.uint8)


def render(
    scenes: Iterable[Scene], width: int = 640, height: int = 360, rate: int = 25
) -> Iterator[Pixels]:
    """The frames of scenes, one after the other."""
    photos: dict[Path | None, Image.Image] = {None: Image.new("RGB", (60, 80), (40, 45, 50))}
    for scene in scenes:
        behind = Image.fromarray(backdrop(scene.backdrop, width, height))
        for number in range(round(scene.seconds * rate)):
            second = number / rate
            frame = behind.copy()
            for actor in scene.actors:
                if not actor.start_s <= second < actor.end_s:
                    continue
                if actor.photo is not None and actor.photo not in photos:
                    photos[actor.photo] = Image.open(actor.photo).convert("RGB")
                    photos[actor.photo].thumbnail((480, 480))
                photo = photos[actor.photo]
                x, y, share = actor.place(second)
                wide = max(2, round(share * width))
                tall = max(2, round(wide * photo.height / photo.width))
                scaled = photo.resize((wide, tall), Image.Resampling.BILINEAR, reducing_gap=2.0)
                frame.paste(scaled, (round(x * width - wide / 2), round(y * height - tall / 2)))
            yield np.asarray(frame)


def encode(
    frames: Iterable[Pixels],
    *,
    rate: int = 25,
    times_ms: Iterable[int] | None = None,
    kind: str = "mp4",
    codec: str = "libx264",
    aspect: Fraction | None = None,
    sound_s: float = 0.0,
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
) -> bytes:
    """A video file; with ``times_ms``, of a rate that varies; silence for so many seconds."""
    av: Any = importlib.import_module("av")
    buffer = io.BytesIO()
    base = Fraction(1, 1000) if times_ms is not None else Fraction(1, rate)
    with av.open(buffer, "w", format=kind, options=options or {}) as container:
        video: Any = None
        sound: Any = None
        for pixels, stamp in zip(frames, times_ms or itertools.count(), strict=False):
            if video is None:
                video = container.add_stream(codec, rate=rate)
                video.height, video.width = pixels.shape[:2]
                video.pix_fmt = "yuv420p"
                video.codec_context.time_base = base
                if codec == "libx264":
                    video.options = codec_options or {"preset": "ultrafast", "crf": "18"}
                if aspect is not None:
                    video.codec_context.sample_aspect_ratio = aspect
                if sound_s:
                    sound = container.add_stream("aac", rate=48000, layout="mono")
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = stamp, base
            container.mux(video.encode(frame))
        if video is not None:
            container.mux(video.encode())
        if video is None and sound_s:
            sound = container.add_stream("aac", rate=48000, layout="mono")
        for number in range(round(sound_s * 48000 / 1024)):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            samples.sample_rate, samples.pts = 48000, number * 1024
            container.mux(sound.encode(samples))
        if sound is not None:
            container.mux(sound.encode())
    return buffer.getvalue()


def film(*scenes: Scene, width: int = 640, height: int = 360, rate: int = 25) -> bytes:
    """An MP4 file of scenes."""
    return encode(render(scenes, width, height, rate), rate=rate)
