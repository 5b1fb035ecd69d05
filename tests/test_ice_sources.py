"""Which pictures a URL reaches: inside the roots, through the fetcher, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facegrep import InvalidArgumentError, PictureError
from facegrep.ice._sources import Sources
from facegrep.media import MAX_BYTES


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    tmp_path = tmp_path.resolve()
    folder = tmp_path / "photos"
    (folder / "a b").mkdir(parents=True)
    (folder / "one.jpg").write_bytes(b"one")
    (folder / "a b" / "zwölf%.jpg").write_bytes(b"two")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "photos-of-others").mkdir()
    (tmp_path / "photos-of-others" / "other.jpg").write_bytes(b"secret")
    return folder


def test_a_file_under_a_root_is_read_and_its_path_kept(photos: Path) -> None:
    sources = Sources([photos])
    for url in (
        f"file://{photos}/one.jpg",
        f"file:{photos}/one.jpg",
        f"FILE://localhost{photos}/a%20b/../one.jpg",
        f"file://{photos}/%6fne.jpg",
    ):
        assert sources.read(url) == (b"one", str(photos / "one.jpg"))
    name = photos / "a b" / "zwölf%.jpg"
    assert sources.read(name.as_uri()) == (b"two", str(name))


def test_roots_are_one_folder_or_several_as_str_or_path(photos: Path) -> None:
    url = f"file://{photos}/one.jpg"
    for files in (photos, str(photos), [str(photos)], (photos.parent / "photos-of-others", photos)):
        assert Sources(files).read(url)[0] == b"one"
    for wrong in ("", [photos / "one.jpg"], [photos, photos / "missing"]):
        with pytest.raises(InvalidArgumentError, match="expected folders"):
            Sources(wrong)


def test_a_link_inside_a_root_is_followed_inside_and_refused_outside(photos: Path) -> None:
    (photos / "in.jpg").symlink_to(photos / "one.jpg")
    (photos / "out.jpg").symlink_to(photos.parent / "secret")
    (photos / "folder").symlink_to(photos.parent)
    (photos / "loop").symlink_to(photos / "loop")
    sources = Sources([photos])
    assert sources.read(f"file://{photos}/in.jpg") == (b"one", str(photos / "one.jpg"))
    for name in ("out.jpg", "folder/secret", "loop"):
        with pytest.raises(PictureError):
            sources.read(f"file://{photos}/{name}")


def test_a_root_that_is_a_link_is_the_folder_that_it_led_to(photos: Path) -> None:
    root = photos.parent / "root"
    root.symlink_to(photos)
    assert Sources(root).read(f"file://{root}/one.jpg") == (b"one", str(photos / "one.jpg"))


def test_a_link_made_after_the_check_is_not_followed(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.path.realpath
    (photos / "now").mkdir()
    (photos / "now" / "secret").write_bytes(b"mine")

    def resolve_then_swap(path: bytes) -> bytes:
        resolved = real(path)
        if path.endswith(b"secret"):
            (photos / "now").rename(photos / "then")
            (photos / "now").symlink_to(photos.parent)
        return resolved

    sources = Sources(photos)
    monkeypatch.setattr(os.path, "realpath", resolve_then_swap)
    with pytest.raises(PictureError):
        sources.read(f"file://{photos}/now/secret")


@pytest.mark.parametrize(
    "tail",
    [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/..%2Fsecret",
        "/a b/../../secret",
        "-of-others/other.jpg",
        "/one.jpg%00.png",
        "/one.jpg?x=1",
        "/one.jpg#x",
        "/missing.jpg",
        "/a%20b",
        "/%ff.jpg",
        "",
        "/",
        "/" + "a" * 300,
    ],
)
def test_what_is_no_file_under_a_root_is_refused(photos: Path, tail: str) -> None:
    with pytest.raises(PictureError) as caught:
        Sources([photos]).read(f"file://{photos}{tail}")
    assert "secret" not in caught.value.reason
    assert str(photos.parent) not in caught.value.reason


def test_files_of_hosts_and_relative_ones_are_refused(photos: Path) -> None:
    sources = Sources([photos])
    for url in (
        f"file://example.com{photos}/one.jpg",
        f"file://127.0.0.1{photos}/one.jpg",
        f"file://user@localhost{photos}/one.jpg",
        f"file://[::1{photos}/one.jpg",
        "file:one.jpg",
        "file:",
        "file://",
        str(photos / "one.jpg"),
        f"ftp://{photos}/one.jpg",
        f"view-source:file://{photos}/one.jpg",
        "javascript:alert(1)",
        "",
    ):
        with pytest.raises(PictureError):
            sources.read(url)


def test_the_refusal_outside_the_roots_does_not_tell_what_is_there(photos: Path) -> None:
    def reason_of(path: Path) -> str:
        with pytest.raises(PictureError) as caught:
            Sources([photos]).read(path.as_uri())
        return caught.value.reason

    assert reason_of(photos.parent / "secret") == reason_of(photos.parent / "nothing-of-the-kind")
    assert reason_of(photos / "missing") != reason_of(photos.parent / "secret")


def test_without_roots_no_file_is_read(photos: Path) -> None:
    with pytest.raises(PictureError):
        Sources().read((photos / "one.jpg").as_uri())


def test_a_pipe_is_refused_at_once_and_a_huge_file_before_it_is_read(photos: Path) -> None:
    os.mkfifo(photos / "pipe.jpg")
    with (photos / "huge.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse
    sources = Sources([photos])
    with pytest.raises(PictureError, match="regular"):
        sources.read(f"file://{photos}/pipe.jpg")
    with pytest.raises(PictureError, match="MiB"):
        sources.read(f"file://{photos}/huge.jpg")


def test_a_data_url_is_read_and_nothing_of_it_kept() -> None:
    assert Sources().read("data:image/png;base64,b25l") == (b"one", None)
    assert Sources().read("DATA:,one") == (b"one", None)


@pytest.mark.parametrize("scheme", ["http", "https", "oss", "HTTPS"])
def test_the_network_is_off_without_a_fetcher_and_on_with_one(scheme: str) -> None:
    url = f"{scheme}://bucket/key.jpg"
    with pytest.raises(PictureError, match="network"):
        Sources().read(url)
    seen: list[str] = []

    def fetcher(wanted: str) -> bytes:
        seen.append(wanted)
        return b"one"

    assert Sources(fetcher=fetcher).read(url) == (b"one", url)
    assert seen == [url]


def fail(error: BaseException) -> Callable[[str], bytes]:
    def fetcher(_: str) -> bytes:
        raise error

    return fetcher


def test_what_a_fetcher_raises_is_a_refusal_without_detail() -> None:
    for error in (OSError("10.0.0.7 refused"), ValueError("10.0.0.7"), TimeoutError("10.0.0.7")):
        with pytest.raises(PictureError) as caught:
            Sources(fetcher=fail(error)).read("https://host/key.jpg")
        assert "10.0.0.7" not in str(caught.value)
        assert caught.value.__cause__ is error
    with pytest.raises(PictureError, match="host not allowed"):
        Sources(fetcher=fail(PictureError("host not allowed"))).read("https://host/key.jpg")
    with pytest.raises(KeyboardInterrupt):
        Sources(fetcher=fail(KeyboardInterrupt())).read("https://host/key.jpg")


def test_what_a_fetcher_returns_is_bounded_and_bytes() -> None:
    with pytest.raises(PictureError, match="MiB"):
        Sources(fetcher=lambda _: bytes(MAX_BYTES + 1)).read("https://host/key.jpg")
    text: Any = lambda _: "one"  # noqa: E731 (a fetcher of the wrong type)
    with pytest.raises(TypeError, match="bytes, got str"):
        Sources(fetcher=text).read("https://host/key.jpg")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_url_is_read_or_refused(tail: str) -> None:
    sources = Sources(["/dev"])
    for scheme in ("", "file:", "file://", "file:///dev/../", "data:", "data:;base64,", "https:"):
        try:
            data, source = sources.read(scheme + tail)
        except PictureError:
            continue
        assert scheme.startswith("data")
        assert source is None
        assert isinstance(data, bytes)
