"""The fuzz targets without a fuzzer: over their seeds, and over what hypothesis makes of them.

Those of requests, signatures and URLs are run beside the tests of what they aim at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.faults import clock
from tests.fuzz import (
    fetch_url_fuzz,
    filters_fuzz,
    ice_requests_fuzz,
    picture_fuzz,
    signature_fuzz,
    store_fuzz,
    video_fuzz,
)
from tests.fuzz.crc32c import crc32c

import facegrep
from facegrep import FaceIndex
from facegrep.engine import _library_index

TARGETS = (
    fetch_url_fuzz,
    filters_fuzz,
    ice_requests_fuzz,
    picture_fuzz,
    signature_fuzz,
    video_fuzz,
)
FILTERS = [*filters_fuzz.seeds()]
PICTURES = [*picture_fuzz.seeds()]


@pytest.fixture(scope="module")
def fuzz_store() -> Iterator[Callable[[bytes], None]]:
    yield store_fuzz.fuzz_one
    store_fuzz.close()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__.split(".")[-1])
def test_nothing_is_found_in_the_seeds_of_a_target(target: object) -> None:
    if target is video_fuzz:
        pytest.importorskip("av", reason="PyAV is not installed")
    for seed in target.seeds():  # type: ignore[attr-defined]
        target.fuzz_one(seed)  # type: ignore[attr-defined]


def changed(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """A seed of which a part is replaced."""

    def replaced(seed: bytes, start: int, end: int, part: bytes) -> bytes:
        start %= len(seed) + 1
        return seed[:start] + part + seed[start + end :]

    places = st.integers(0, 2**16), st.integers(0, 40)
    return st.builds(replaced, st.sampled_from(seeds), *places, st.binary(max_size=40))


@given(changed(FILTERS))
def test_any_filter_selects_what_a_loop_over_the_assets_selects(data: bytes) -> None:
    filters_fuzz.fuzz_one(data)


@settings(deadline=None)
@given(changed(PICTURES))
def test_any_picture_is_read_within_the_limits_or_refused(data: bytes) -> None:
    picture_fuzz.fuzz_one(data)


def test_any_damage_to_a_store_is_an_error_of_ours_or_changes_no_answer(
    fuzz_store: Callable[[bytes], None],
) -> None:
    for seed in [*store_fuzz.seeds()][::8]:
        fuzz_store(seed)


def test_the_target_of_filters_sees_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    search = FaceIndex.search
    monkeypatch.setattr(
        FaceIndex, "search", lambda self, *a, **o: search(self, *a, **o | {"where": {}})
    )
    with pytest.raises(AssertionError):
        filters_fuzz.fuzz_one(b'\x00{"intField1": 7}')


def test_the_target_of_stores_sees_a_wrong_answer(
    fuzz_store: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is damaged, since there is no edit; but another threshold drops the worst hits.
    fuzz_store(b"\x08\x00")
    search = facegrep.Engine.search
    monkeypatch.setattr(
        facegrep.Engine, "search", lambda self, *a, **o: search(self, *a, **o | {"threshold": 0.0})
    )
    with pytest.raises(AssertionError, match="silently changed"):
        fuzz_store(b"\x08\x00")


def test_a_saved_index_that_was_rewritten_passes_its_checksums(
    fuzz_store: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the target would never get behind them."""
    refusals: list[str] = []
    load = _library_index.LibraryIndex.load

    def noting(self: _library_index.LibraryIndex, *arguments: object) -> None:
        try:
            load(self, *arguments)  # type: ignore[arg-type]
        except facegrep.FacegrepError as error:
            refusals.append(str(error))
            raise

    monkeypatch.setattr(_library_index.LibraryIndex, "load", noting)
    for section in range(2, 16):
        fuzz_store(bytes([4, 0, section, 0, 0]) + b"\xff" * 16)
    assert len(refusals) > 3
    assert not [why for why in refusals if "checksum" in why]


def test_closing_the_target_of_stores_lets_the_clock_go_on(
    fuzz_store: Callable[[bytes], None],
) -> None:
    fuzz_store(b"")
    worth_saving = vars(_library_index)["MIN_CHANGES"]
    store_fuzz.close()
    assert vars(_library_index)["MIN_CHANGES"] > worth_saving
    assert vars(clock)["_CLOCK"]["time"] is not clock._Stopped


def test_the_checksum_of_the_targets_is_crc_32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of its definition
    assert crc32c(np.zeros(32, np.uint8).tobytes()) == 0x8A9136AA  # RFC 3720, B.4
