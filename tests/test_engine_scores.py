"""What a score means is said with it, and the threshold follows the library's size."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from tests.conftest import LfwFaces

import facegrep
from facegrep.engine import SearchResult
from facegrep.engine._threshold import FALSE_MATCHES_EXPECTED, ThresholdRule
from facegrep.vision import Calibration, EmbedderManifest, Verdict, load_manifest

PORTRAITS = Path(__file__).parent / "data" / "portraits"
DIM = 128
FACES = 20_000
QUERY = np.eye(DIM, dtype=np.float32)[0]


def sface() -> EmbedderManifest:
    manifest = load_manifest("sface").manifest
    assert isinstance(manifest, EmbedderManifest)
    return manifest


def calibration() -> Calibration:
    found = sface().calibration
    assert found is not None
    return found


def at(cosine: float) -> NDArray[np.float32]:
    """A vector that has this cosine with the query."""
    vector = np.zeros(DIM, np.float32)
    vector[:2] = cosine, np.sqrt(1 - cosine * cosine)
    return vector


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[facegrep.Engine]:
    """20,000 faces that are nobody's, and some at chosen cosines from the query, in ``crowd``."""
    with facegrep.open(tmp_path_factory.mktemp("scores") / "store", device="cpu") as engine:
        engine.create_library("crowd")
        random = np.random.default_rng(4)
        strangers = random.normal(size=(FACES - 7, DIM)).astype(np.float32)
        strangers[:, 0] = 0
        known = [at(cosine) for cosine in (0.9, 0.7, 0.6, 0.5, 0.46, 0.43, 0.41)]
        ids = [f"known-{index}" for index in range(7)] + [f"s{row}" for row in range(FACES - 7)]
        rare = {"intField1": [1] * 7 + [2] * (FACES - 7)}
        engine.add_vectors("crowd", ids, np.concatenate([known, strangers]), rare)
        yield engine


def rule() -> ThresholdRule:
    return ThresholdRule(sface().threshold_floor, "the floor", sface())


@given(st.integers(0, 10**10), st.integers(0, 10**10))
def test_a_larger_library_never_asks_for_less_nor_for_less_than_the_floor(
    few: int, many: int
) -> None:
    few, many = sorted((few, many))
    low, _ = rule().among(few)
    high, reason = rule().among(many)
    assert low is not None
    assert high is not None
    assert sface().threshold_floor <= low <= high
    expected = calibration().false_match_rate(high) * many
    assert expected <= FALSE_MATCHES_EXPECTED or many > 10**9
    assert (f"among {many:,} faces" in reason) == (high > sface().threshold_floor)


def test_the_threshold_follows_the_size_and_the_result_says_so(opened: facegrep.Engine) -> None:
    result = opened.search("crowd", vector=QUERY)
    expected = calibration().threshold_at(0.1 / FACES)
    assert result.threshold == expected
    assert 0.46 < expected < 0.5
    assert result.media_ids == ["known-0", "known-1", "known-2", "known-3"]
    assert "at most 0.1 false matches expected among 20,000 faces" in result.threshold_reason
    assert result.expected_false_matches is not None
    assert 0.099 < result.expected_false_matches <= 0.1


def test_a_filter_never_adds_a_match(opened: facegrep.Engine) -> None:
    # Few faces pass. Were they what counts, 0.46 and 0.43 would be matches.
    whole = opened.search("crowd", vector=QUERY, limit=99)
    few = opened.search("crowd", vector=QUERY, limit=99, where={"intField1": 1})
    assert few.plan.rows_in_filter == 7
    assert few.threshold == whole.threshold
    assert few.expected_false_matches == whole.expected_false_matches
    assert set(few.media_ids) <= set(whole.media_ids)


def test_only_live_faces_count(opened: facegrep.Engine) -> None:
    opened.create_library("small")
    vectors = np.concatenate([[at(0.45)], np.random.default_rng(5).normal(size=(4000, DIM))])
    opened.add_vectors("small", [f"m{row}" for row in range(4001)], vectors)
    large = opened.search("small", vector=QUERY)
    assert large.threshold is not None
    assert large.threshold > sface().threshold_floor
    opened.delete("small", media_ids=[f"m{row}" for row in range(1, 4001)])
    one = opened.search("small", vector=QUERY)
    assert (one.threshold, one.media_ids) == (sface().threshold_floor, ["m0"])
    assert one.threshold_reason == "the floor of model sface-2021dec"
    opened.drop_library("small")


def test_what_has_expired_counts_in_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: begun_ns)
    strangers = np.random.default_rng(5).normal(size=(4000, DIM))
    strangers[:, 0] = 0
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", ttl_ms=1000)
        engine.add_vectors("lib", [f"m{row}" for row in range(4000)], strangers)
        monkeypatch.setattr(time, "time_ns", lambda: begun_ns + 1_500_000_000)
        engine.add_vectors("lib", ["she"], [at(0.45)])
        known = engine.create_recognition_library("people").recognition_id
        entity = engine.create_entity(known, "she").entity_id
        engine.add_sample(known, entity, vector=QUERY)
        engine.set_recognition("lib", [known])
        found = engine.search("lib", vector=QUERY)
        assert (found.threshold, found.media_ids) == (sface().threshold_floor, ["she"])
        assert engine.clips("lib", "she", vector=QUERY).threshold == found.threshold
        anywhere = engine.search("lib", vector=QUERY, threshold=-1.0, recognised=entity)
        assert anywhere.media_ids == ["she"]
        assert [face.name for face in engine.recognise("lib", "she")] == ["she"]
        assert engine.clips("lib", "she", vector=QUERY)[0].name == "she"
        assert engine.people("lib").recognised == 1


def test_a_threshold_of_ones_own_stays_what_it_is(opened: facegrep.Engine) -> None:
    asked = opened.search("crowd", vector=QUERY, threshold=0.42)
    assert (asked.threshold, asked.threshold_reason, asked.total) == (0.42, "asked for", 6)
    rate = calibration().false_match_rate(0.42)
    assert asked.expected_false_matches == pytest.approx(rate * FACES)
    opened.set_threshold("crowd", 0.45)
    own = opened.search("crowd", vector=QUERY)
    opened.set_threshold("crowd", None)
    assert (own.threshold, own.total) == (0.45, 5)
    best = opened.search("crowd", vector=QUERY, threshold=None)
    assert (best.threshold, best.expected_false_matches) == (None, None)


def probabilities(result: SearchResult) -> dict[str, float | None]:
    return {hit.media_id: hit.probability for hit in result}


def test_a_hit_says_how_probable_it_is_and_a_later_page_says_the_same(
    opened: facegrep.Engine,
) -> None:
    result = opened.search("crowd", vector=QUERY, threshold=0.4, limit=7)
    for hit in result:
        assert hit.probability == calibration().probability(hit.score)
    found = [hit.probability for hit in result]
    assert found == sorted(found, reverse=True)  # type: ignore[type-var]
    assert 0.9 < found[-1] < found[-2] < 1  # type: ignore[operator]
    pages: dict[str, float | None] = {}
    for offset in range(7):
        pages |= probabilities(
            opened.search("crowd", vector=QUERY, threshold=0.4, limit=1).page(offset, 1)
        )
    assert pages == probabilities(result)
    condition = b"c" * 32
    opened.answers.put("crowd", "token", condition, condition, result.embedding, result)
    with facegrep.open(opened.path) as another:
        kept = another.answers.get("crowd", "token")
        assert kept is not None
        hits = kept.page(0, 7).hits
        assert {hit.media_id: hit.probability for hit in hits} == probabilities(result)


def test_vectors_without_a_model_have_cosines_and_nothing_more(opened: facegrep.Engine) -> None:
    opened.create_library("bare", dim=2, threshold=0.5)
    opened.add_vectors("bare", ["a"], [[1, 0]])
    result = opened.search("bare", vector=[1, 0.1])
    opened.drop_library("bare")
    assert (result.total, result[0].probability, result.expected_false_matches) == (1, None, None)


def test_vectors_of_a_model_that_is_not_here_are_searched_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "models" / "elsewhere"
    place.mkdir(parents=True)
    text = (load_manifest("sface").folder / "manifest.toml").read_text("utf-8")
    renamed = re.sub(r'(?m)^id = "sface-2021dec"$', 'id = "elsewhere-1"', text)
    (place / "manifest.toml").write_text(renamed)
    monkeypatch.setenv(
        "FACEGREP_MODELS", f"{place.parent}{os.pathsep}{os.environ.get('FACEGREP_MODELS', '')}"
    )
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", model="elsewhere")
        engine.add_vectors("lib", ["a"], [at(0.6)])
        assert engine.search("lib", vector=QUERY)[0].probability is not None
    monkeypatch.delenv("FACEGREP_MODELS")
    with facegrep.open(tmp_path / "store") as engine:
        result = engine.search("lib", vector=QUERY, threshold=0.5)
        assert (result.media_ids, result[0].probability) == (["a"], None)
        assert result.expected_false_matches is None
        with pytest.raises(facegrep.ModelError, match="elsewhere-1"):
            engine.search("lib", vector=QUERY)


def test_the_query_picture_is_judged_before_anybody_trusts_a_match(
    opened: facegrep.Engine,
) -> None:
    sharp = PORTRAITS / "Emmanuel_Macron" / "person_a_2.jpg"
    with Image.open(sharp) as picture:
        blurred = np.asarray(picture.convert("RGB").filter(ImageFilter.GaussianBlur(20)))
    result = opened.search("crowd", [sharp, blurred])
    first, second = (photo.quality for photo in result.query_photos)
    assert first is not None
    assert second is not None
    assert (first.verdict, first.reason) == (Verdict.GOOD, "")
    assert second.verdict == Verdict.BLURRED
    assert "blurred: sharpness 0." in second.reason
    assert result.page(0, 1).query_photos == result.query_photos


@pytest.fixture
def entity(opened: facegrep.Engine) -> Iterator[str]:
    """A person with two samples that are fused into `QUERY`, known to ``crowd``."""
    known = opened.create_recognition_library("people").recognition_id
    entity = opened.create_entity(known, "she").entity_id
    for side in (0.3, -0.3):
        vector = QUERY.copy()
        vector[3] = side
        opened.add_sample(known, entity, vector=vector)
    opened.set_recognition("crowd", [known])
    yield entity
    opened.delete_recognition_library(known)


def test_several_samples_fused_ask_for_as_much_and_their_hits_mean_as_much(
    opened: facegrep.Engine, entity: str
) -> None:
    by_vector = opened.search("crowd", vector=QUERY)
    by_samples = opened.search("crowd", entity=entity)
    assert len(by_samples.query_photos) == 2
    assert by_samples.threshold == by_vector.threshold
    assert by_samples.threshold_reason == by_vector.threshold_reason
    assert by_samples.expected_false_matches == by_vector.expected_false_matches
    assert by_samples.media_ids == by_vector.media_ids
    for hit in by_samples:
        assert hit.probability == calibration().probability(hit.score)


def test_who_is_recognised_follows_the_size_in_every_call_alike(
    opened: facegrep.Engine, entity: str
) -> None:
    # Between the floor and what 20,000 faces want: 0.46 and 0.43.
    anywhere = {"vector": QUERY, "threshold": -1.0, "limit": 99}
    seen = opened.search("crowd", **anywhere, recognised=entity)
    assert seen.media_ids == ["known-0", "known-1", "known-2", "known-3"]
    recognised = [f"known-{row}" for row in range(7) if opened.recognise("crowd", f"known-{row}")]
    assert recognised == seen.media_ids
    few = opened.search("crowd", **anywhere, recognised=entity, where={"intField1": 1})
    assert few.media_ids == seen.media_ids


def test_a_model_that_is_not_calibrated_has_a_floor_and_cosines(
    opened: facegrep.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "models" / "plain"
    place.mkdir(parents=True)
    text = (load_manifest("sface").folder / "manifest.toml").read_text("utf-8")
    text = text.replace('id = "sface-2021dec"', 'id = "plain-1"')
    before, after = text.split("# What scores mean", 1)
    assert "\n[" not in after.split("[calibration]")[1]  # it is the last table
    (place / "manifest.toml").write_text(before)
    monkeypatch.setenv("FACEGREP_MODELS", str(place.parent))
    opened.create_library("plain", model="plain")
    opened.add_vectors("plain", ["near", "far"], [at(0.43), at(0.41)])
    strangers = np.random.default_rng(6).normal(size=(4000, DIM))
    strangers[:, 0] = 0
    opened.add_vectors("plain", [f"s{row}" for row in range(4000)], strangers)
    result = opened.search("plain", vector=QUERY)
    condition = b"c" * 32
    opened.answers.put("plain", "token", condition, condition, result.embedding, result)
    kept = opened.answers.get("plain", "token")
    opened.drop_library("plain")
    assert (result.media_ids, result.threshold) == (["near"], sface().threshold_floor)
    assert result.threshold_reason == "the floor of model plain-1"
    assert (result[0].probability, result.expected_false_matches) == (None, None)
    assert kept is not None


@pytest.mark.slow
def test_as_many_strangers_match_as_are_expected(
    opened: facegrep.Engine, lfw_faces: LfwFaces
) -> None:
    opened.create_library("lfw")
    ids = [f"{person}/{row}" for row, person in enumerate(lfw_faces.people)]
    opened.add_vectors("lfw", ids, lfw_faces.embeddings)
    expected, counted = 0.0, 0
    for row in range(0, len(ids), 4):  # a photo of each person
        result = opened.search("lfw", vector=lfw_faces.embeddings[row], threshold=0.38, limit=999)
        assert result.expected_false_matches is not None
        expected += result.expected_false_matches
        counted += sum(hit.split("/")[0] != str(lfw_faces.people[row]) for hit in result.media_ids)
    opened.drop_library("lfw")
    assert expected > 50
    assert 0.5 < counted / expected < 2
