"""Bytes that are not a readable picture are refused by name, soon, and within little memory."""

from __future__ import annotations

import base64
import io
import os
import resource
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from facegrep import PictureError
from facegrep.media import MAX_BYTES, MAX_DATA_URL_BYTES, MAX_SIDE, read_data_url, read_picture

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


def encoded(kind: str, size: tuple[int, int] = (64, 48)) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """All black, one byte a thousand pixels; written in pieces so that the test stays small too."""
    squeeze = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    body = b"".join(squeeze.compress(row) for _ in range(height)) + squeeze.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_picture_is_refused(kind: str) -> None:
    data = encoded(kind)
    for kept in (12, 30, len(data) // 2, len(data) * 9 // 10):
        with pytest.raises(PictureError, match=r"truncated or damaged|damaged header"):
            read_picture(data[:kept])


def test_no_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    for source in (b"", tmp_path / "a.jpg", io.BytesIO()):
        with pytest.raises(PictureError) as caught:
            read_picture(source)
        assert caught.value.reason == "empty"


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.7",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"II*\0" + bytes(64),
        b"hello",
        b"\xff",
    ],
    ids=["pdf", "svg", "tiff", "text", "byte"],
)
def test_what_is_not_a_picture_is_refused_whatever_its_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "photo.jpg").write_bytes(data)
    with pytest.raises(PictureError, match=r"photo\.jpg.*not a JPEG, PNG, WebP, GIF or BMP"):
        read_picture(tmp_path / "photo.jpg")


def test_a_bomb_of_88_megapixels_is_refused_before_it_costs_memory(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_bomb(9400, 9400))
    assert bomb.stat().st_size < 300_000
    child = """if True:
        import resource, sys, time
        from facegrep import PictureError
        from facegrep.media import read_picture
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        try:
            read_picture(sys.argv[1])
        except PictureError as error:
            assert error.reason == "9400 x 9400 px, more than 25 megapixels or 16384 px a side"
            assert time.monotonic() - start < 1
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    run = subprocess.run(
        [sys.executable, "-c", child, bomb], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 16 * 1024  # KiB


@pytest.mark.parametrize(
    ("kind", "options", "limit_mb"),
    [
        ("PNG", {}, 200),
        ("JPEG", {"progressive": True, "subsampling": 0}, 310),
        ("WEBP", {"method": 0}, 400),
    ],
    ids=["png", "jpeg", "webp"],
)
def test_the_largest_picture_allowed_stays_within_its_memory(
    tmp_path: Path, kind: str, options: dict[str, object], limit_mb: int
) -> None:
    largest = tmp_path / "largest"
    if kind == "PNG":
        largest.write_bytes(png_bomb(5000, 5000))
    else:
        Image.new("RGB", (5000, 5000)).save(largest, kind, **options)
    child = """if True:
        import resource, sys
        from facegrep.media import read_picture
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert read_picture(sys.argv[1]).pixels.shape == (5000, 5000, 3)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    run = subprocess.run(
        [sys.executable, "-c", child, largest], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < limit_mb * 1024  # KiB


def test_the_limits_of_the_process_are_neither_used_nor_touched() -> None:
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    # Pillow's own limit would only warn here, and pytest would make that another error.
    with pytest.raises(PictureError, match="10000 x 9000 px"):
        read_picture(png_bomb(10_000, 9_000))
    assert limit == Image.MAX_IMAGE_PIXELS
    assert list(warnings.filters) == filters


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "BMP"])
def test_a_huge_canvas_is_refused_in_every_format(kind: str) -> None:
    data = bytearray(encoded(kind))
    if kind == "GIF":
        data[6:10] = struct.pack("<HH", 60_000, 60_000)
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", 30_000, 30_000)
    else:
        buffer = io.BytesIO()
        frame = Image.new("RGB", (8, 8))
        other = Image.new("RGB", (8, 8), "red")
        frame.save(buffer, "WEBP", save_all=True, append_images=[other])
        data = bytearray(buffer.getvalue())
        data[24:30] = (16_000 - 1).to_bytes(3, "little") * 2
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PictureError, match="more than 25 megapixels"):
        read_picture(bytes(data))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_a_side_beyond_the_cap_is_refused() -> None:
    with pytest.raises(PictureError, match=r"more than .* px a side"):
        read_picture(png_bomb(MAX_SIDE + 1, 1))


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = encoded("JPEG")
    scan = data[data.index(b"\xff\xda") : -2]
    with pytest.raises(PictureError, match="JPEG scans"):
        read_picture(data[:-2] + scan * 300 + data[-2:])


@pytest.mark.parametrize(
    "segment",
    [b"\xff\xe5\x00\x02", b"\xff\xe1\x00\x0cExif\x00\x00abcd", b"\xff\xfe\x00\x00"],
    ids=["empty", "exif", "shorter than itself"],
)
def test_a_jpeg_of_endless_segments_is_refused(segment: bytes) -> None:
    data = encoded("JPEG")
    with pytest.raises(PictureError, match="JPEG segments"):
        read_picture(data[:2] + segment * 5000 + data[2:])


def test_a_gif_of_endless_comments_is_refused() -> None:
    data = encoded("GIF")
    colours = 13 + 3 * 256
    with pytest.raises(PictureError, match="GIF comments"):
        read_picture(data[:colours] + b"!\xfe\x01a\x00" * 5000 + data[colours:])


def test_more_bytes_than_the_cap_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for source in (large, bytes(MAX_BYTES + 1)):
        with pytest.raises(PictureError, match="more than 32 MiB"):
            read_picture(source)
    with large.open("rb") as file, pytest.raises(PictureError, match="more than 32 MiB"):
        read_picture(file)
    with Path("/dev/zero").open("rb") as endless, pytest.raises(PictureError, match="32 MiB"):
        read_picture(endless)


def test_only_regular_files_are_opened_and_none_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = threading.Event()

    def read_all() -> None:
        for path in (tmp_path, tmp_path / "pipe", "/dev/zero", "/dev/null"):
            with pytest.raises(PictureError, match="not a regular file"):
                read_picture(path)
        done.set()

    threading.Thread(target=read_all, daemon=True).start()
    assert done.wait(10)


def test_a_path_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "none.jpg", "no such file"),
        ("a\0b", "not a possible file name"),
        (tmp_path / ("x" * 300), "file name too long"),
    ):
        with pytest.raises(PictureError, match=reason):
            read_picture(path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PictureError, match="too many levels of symbolic links"):
        read_picture(tmp_path / "loop")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((), np.uint8),
    ],
    ids=["grey", "rgba", "float", "empty", "scalar"],
)
def test_an_array_that_is_not_rgb_bytes_is_refused(array: NDArray[np.generic]) -> None:
    with pytest.raises(
        PictureError, match=r"expected an RGB array, uint8 \(height, width, 3\), got"
    ):
        read_picture(array)  # type: ignore[arg-type]


def test_an_array_is_held_to_the_pixel_limit() -> None:
    with pytest.raises(PictureError, match="more than 25 megapixels"):
        read_picture(np.broadcast_to(np.uint8(0), (5001, 5000, 3)))


@pytest.mark.parametrize("source", [None, 7, 1.5, [], {}, io.StringIO("x")], ids=repr)
def test_what_cannot_be_a_picture_is_refused_by_its_type(source: object) -> None:
    with pytest.raises(PictureError):
        read_picture(source)  # type: ignore[arg-type]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(st.sampled_from(KINDS), st.data())
def test_mutated_pictures_are_read_or_refused_and_nothing_else(
    kind: str, data: st.DataObject
) -> None:
    mutated = bytearray(encoded(kind, (24, 16)))
    for _ in range(data.draw(st.integers(1, 6))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = read_picture(bytes(mutated))
    except PictureError:
        return
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape == (picture.height, picture.width, 3)


@given(st.binary(max_size=200), st.booleans(), st.sampled_from(["", "image/png", "text/x;a=b"]))
def test_a_data_url_carries_any_bytes(data: bytes, padded: bool, media_type: str) -> None:
    text = base64.b64encode(data).decode()
    assert read_data_url(f"data:{media_type};base64,{text if padded else text.rstrip('=')}") == data
    assert read_data_url(f"DATA:{media_type};BASE64,{text.replace('+', '%2B')}") == data
    escaped = "".join(f"%{byte:02x}" for byte in data)
    assert read_data_url(f"data:{media_type},{escaped}") == data


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://x/", "not a data: URL"),
        ("data", "not a data: URL"),
        ("data:image/png;base64", "without a comma"),
        ("data:;base64,AA AA", "%2B"),
        ("data:;base64,A", "not valid base64"),
        ("data:;base64,é", "not valid base64"),
        ("data:;base64,AA==AA", "not valid base64"),
        ("data:;base64,\ud800", "not valid base64"),
    ],
    ids=range(8),
)
def test_a_malformed_data_url_is_refused_by_reason(url: str, reason: str) -> None:
    with pytest.raises(PictureError) as caught:
        read_data_url(url)
    assert reason in caught.value.reason


def test_a_data_url_is_held_to_its_cap() -> None:
    text = base64.b64encode(bytes(MAX_DATA_URL_BYTES)).decode()
    over = base64.b64encode(bytes(MAX_DATA_URL_BYTES + 1)).decode()
    assert len(read_data_url(f"data:;base64,{text}")) == MAX_DATA_URL_BYTES
    for url in (f"data:;base64,{over}", "data:," + "x" * (4 * MAX_DATA_URL_BYTES)):
        with pytest.raises(PictureError, match="more than 10 MiB"):
            read_data_url(url)
