"""Pictures that people have are read; what comes out is always the same thing."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from facegrep.media import MAX_SIDE, Picture, kind_of, read_picture

MACRON = Path(__file__).parent / "data" / "portraits" / "Emmanuel_Macron" / "person_a_1.jpg"


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def quadrants() -> Image.Image:
    """A picture whose four corners tell how it was turned: red, green / blue, white."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30] = (255, 0, 0)
    pixels[:20, 30:] = (0, 255, 0)
    pixels[20:, :30] = (0, 0, 255)
    pixels[20:, 30:] = (255, 255, 255)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("GIF", {}, 0),
        ("JPEG", {"quality": 95}, 12),
        ("JPEG", {"quality": 95, "progressive": True}, 12),
    ],
    ids=["png", "bmp", "webp", "gif", "jpeg", "progressive"],
)
def test_every_format_gives_the_same_pixels(
    kind: str, options: dict[str, Any], tolerance: int
) -> None:
    picture = read_picture(encoded(quadrants(), kind, **options))
    expected = np.asarray(quadrants()).astype(int)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous
    assert (picture.width, picture.height) == (60, 40)
    assert abs(picture.pixels.astype(int) - expected)[5:15, 5:25].max() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_a_picture_turned_by_exif_comes_out_upright(kind: str, orientation: int) -> None:
    turn_back = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = quadrants()
    for step in turn_back[orientation]:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = read_picture(encoded(stored, kind, exif=exif, **options))
    assert (picture.width, picture.height) == (60, 40)
    corners = picture.pixels[[5, 5, 34, 34], [5, 54, 5, 54]].astype(int)
    expected = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)])
    assert abs(corners - expected).max() <= 12


@given(st.binary(max_size=64), st.sampled_from([b"II*\0", b"MM\0*", b""]))
def test_damaged_exif_leaves_a_picture_as_it_is_stored(noise: bytes, order: bytes) -> None:
    for kind in ("PNG", "JPEG"):
        data = encoded(quadrants(), kind, exif=b"Exif\0\0" + order + noise)
        assert read_picture(data).pixels.size == 60 * 40 * 3


def test_exif_that_a_png_has_after_its_pixels_is_obeyed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20)).save(buffer, "PNG", exif=exif.tobytes())
    data = buffer.getvalue()
    start, end = data.index(b"eXIf") - 4, data.index(b"IDAT") - 4  # the whole chunk
    moved = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    assert read_picture(moved).pixels.shape == read_picture(data).pixels.shape == (40, 20, 3)


def test_what_a_phone_appends_to_a_jpeg_is_not_part_of_the_picture() -> None:
    picture = MACRON.read_bytes()
    film = np.random.default_rng(1).bytes(8_000_000)  # has 133 times what begins a scan
    upright = read_picture(picture).pixels
    np.testing.assert_array_equal(read_picture(picture + film).pixels, upright)
    np.testing.assert_array_equal(read_picture(picture + picture).pixels, upright)
    assert read_picture(picture + film).sha256 != read_picture(picture).sha256


def test_the_first_frame_of_an_animation_is_read() -> None:
    second = Image.new("RGB", (60, 40), "black")
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(
            quadrants(), kind, save_all=True, append_images=[second, second], duration=100
        )
        colour = read_picture(data).pixels[5, 5].astype(int)
        assert abs(colour - (255, 0, 0)).max() <= 30, kind


def test_cmyk_is_converted() -> None:
    picture = read_picture(encoded(quadrants().convert("CMYK"), "JPEG", quality=95))
    assert abs(picture.pixels[5, 5].astype(int) - (255, 0, 0)).max() <= 12


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)
    picture = read_picture(encoded(Image.fromarray(np.tile(ramp, (8, 1))), "PNG"))
    np.testing.assert_array_equal(picture.pixels[0, :, 0], np.arange(256))
    np.testing.assert_array_equal(picture.pixels[..., 0], picture.pixels[..., 2])


def test_sixteen_bit_colour_is_scaled() -> None:
    values = np.array([[[0, 32896, 65535], [65535, 257, 0]]], ">u2")
    picture = read_picture(png(2, 1, 16, 2, b"\0" + values.tobytes()))
    np.testing.assert_array_equal(picture.pixels[0], [(0, 128, 255), (255, 1, 0)])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_over_white(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert(mode)
    options = {"transparency": 0} if mode == "P" else {}
    assert (read_picture(encoded(image, "PNG", **options)).pixels == 255).all()


def test_one_bit_and_palette_pictures_are_read() -> None:
    for mode in ("1", "P", "L"):
        assert (read_picture(encoded(Image.new(mode, (9, 7)), "PNG")).pixels == 0).all()


def test_a_picture_knows_its_bytes_and_where_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(quadrants(), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    sources: list[Any] = ["a.png", Path("a.png"), data, bytearray(data), memoryview(data)]
    with Path("a.png").open("rb") as file:
        pictures = [read_picture(source) for source in [*sources, file]]
    assert {picture.sha256 for picture in pictures} == {hashlib.sha256(data).digest()}
    assert [picture.source for picture in pictures[:2]] == [str(tmp_path / "a.png")] * 2
    assert {picture.source for picture in pictures[2:]} == {None}


def test_a_file_object_may_return_fewer_bytes_than_asked_for() -> None:
    class Trickle(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.rest = data

        def read(self, size: int = -1, /) -> bytes:
            part, self.rest = self.rest[: min(size, 7)], self.rest[min(size, 7) :]
            return part

    assert read_picture(Trickle(encoded(quadrants(), "PNG"))).width == 60  # type: ignore[arg-type]


def test_an_array_is_copied_and_hashed_with_its_shape() -> None:
    wide = np.zeros((2, 8, 3), np.uint8)
    picture = read_picture(wide)
    assert picture.sha256 != read_picture(wide.reshape(4, 4, 3)).sha256
    wide[:] = 1
    assert (picture.pixels == 0).all()
    assert read_picture(wide[:, ::-1]).pixels.flags.c_contiguous
    assert not picture.pixels.flags.writeable


def test_a_file_name_that_is_not_unicode_is_read_without_a_source(tmp_path: Path) -> None:
    path = tmp_path / b"a\xff.png".decode(errors="surrogateescape")
    path.write_bytes(encoded(quadrants(), "PNG"))
    assert read_picture(path).source is None


def test_the_longest_side_allowed_is_read() -> None:
    assert read_picture(encoded(Image.new("L", (MAX_SIDE, 1)), "PNG")).width == MAX_SIDE


def test_real_photographs_are_read(shared_data: Path) -> None:
    pictures: list[Picture] = [
        read_picture(path) for path in sorted((shared_data / "faces" / "portraits").glob("*/*.jpg"))
    ]
    assert len(pictures) == 6
    assert all(picture.pixels.std() > 20 for picture in pictures)


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    """A PNG written by hand, for what Pillow does not write."""
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_a_gif_is_a_picture_whatever_byte_comes_where_a_transport_stream_repeats_its_own() -> None:
    # Both begin with a G, and a packet is 188 bytes: of the GIFs with many colours one in 256 has
    # another there. The 59th colour is asked for here.
    image = Image.new("P", (16, 16))
    image.putpalette(bytes(range(1, 256)) * 3)
    image.putdata(list(range(256)))
    gif = bytearray(encoded(image, "GIF"))
    for byte in (0, ord("G")):
        gif[188] = byte
        assert kind_of(bytes(gif)) == "image"
        assert read_picture(bytes(gif)).width == 16
