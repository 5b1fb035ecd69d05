from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from facegrep import ModelError
from facegrep.vision import Model, _graphs, load_manifest
from facegrep.vision._cache import cache_folder
from facegrep.vision._chain import bound_slopes, read_chain
from facegrep.vision._fold import fold, parse
from facegrep.vision._graphs import Variant, load_graph
from facegrep.vision._runtime import cpu_session
from facegrep.vision._weights import read_weights

SFACE, YUNET = load_manifest("sface"), load_manifest("yunet")


@pytest.fixture(scope="module", autouse=True)
def derived_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Derive the graphs anew: those in the user's cache may be of another recipe."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEGREP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEGREP_CACHE", str(tmp_path))
    return tmp_path


def _noise(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 3, side, side)).astype(np.float32)


def _run(graph: bytes, name: str, fed: np.ndarray) -> list[np.ndarray]:
    session = cpu_session(graph)
    return session.run([tensor.name for tensor in session.get_outputs()], {name: fed})


def test_the_rewritten_network_differs_from_the_folded_one_by_less_than_1e_5() -> None:
    fed = _noise(3, 112)
    (folded,) = _run(load_graph(SFACE, "folded"), "data", fed)
    (fp32,) = _run(load_graph(SFACE, "fp32"), "data", fed)
    assert np.abs(folded - fp32).max() <= 1e-5
    assert np.abs(folded).max() > 0.1


def test_no_prelu_is_left_in_the_rewritten_network() -> None:
    graph = onnx.load_from_string(load_graph(SFACE, "fp32")).graph
    assert "PRelu" not in {node.op_type for node in graph.node}


def test_folding_is_what_dequantize_linear_computes() -> None:
    from onnx.reference import ReferenceEvaluator

    published = onnx.load_from_string(read_weights(YUNET))
    folded = onnx.load_from_string(read_weights(YUNET))
    fold(folded, "input")
    fed = _noise(1, 64)
    (expected,) = ReferenceEvaluator(published).run(["kps_32"], {"input": fed})
    (found,) = ReferenceEvaluator(folded).run(["kps_32"], {"input": fed})
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-4)


@pytest.mark.parametrize(
    ("model", "variant"), [(SFACE, "fp32"), (SFACE, "int8"), (YUNET, "folded")]
)
def test_a_batch_gives_the_bits_of_its_singles(model: Model, variant: Variant) -> None:
    fed = _noise(3, 112 if model is SFACE else 96)
    graph, name = load_graph(model, variant), model.manifest.input.name
    singles = [_run(graph, name, fed[index : index + 1]) for index in range(3)]
    for whole, *parts in zip(_run(graph, name, fed), *singles, strict=True):
        np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_weights_of_the_uint8_network_cannot_saturate_sixteen_bits() -> None:
    graph = onnx.load_from_string(load_graph(SFACE, "int8")).graph
    codes = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and tensor.name.endswith("/codes")
    ]
    assert len(codes) == 27
    assert 2 * 255 * max(int(np.abs(code.astype(int)).max()) for code in codes) < 2**15


def test_bounding_slopes_leaves_the_network_as_it_was() -> None:
    model = parse(read_weights(SFACE))
    fold(model, "data")
    before, after = read_chain(model), read_chain(model)
    bound_slopes(after)
    steep = [bool((layer.slope > 1).any()) for layer in before.convolutions]
    assert any(steep)
    assert all((layer.slope <= 1).all() for layer in after.convolutions)
    # A steep channel and its mirror image have the same effect on whatever reads them.
    position = steep.index(True)
    one, other = before.convolutions[position], after.convolutions[position]
    channel = int((one.slope > 1).argmax())
    x = np.linspace(-2, 2, 9)
    was = np.where(x > 0, x, one.slope[channel] * x)
    now = np.where(-x > 0, -x, other.slope[channel] * -x)
    reads = [chain.convolutions[position + 1].weight for chain in (before, after)]
    taken = [weight[channel] if weight.shape[1] == 1 else weight[:, channel] for weight in reads]
    np.testing.assert_allclose(np.multiply.outer(taken[0], was), np.multiply.outer(taken[1], now))


def test_a_changed_recipe_derives_its_graphs_anew(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_graph(YUNET, "folded")
    load_graph(YUNET, "folded")
    assert len(list(cache.iterdir())) == 1
    recipes = tmp_path / "recipes"
    shutil.copytree(Path(_graphs.__file__).parent, recipes)
    with (recipes / "_fold.py").open("a") as file:
        file.write("# changed\n")
    monkeypatch.setattr(_graphs, "__file__", str(recipes / "_graphs.py"))
    _graphs.recipe.cache_clear()
    load_graph(YUNET, "folded")
    _graphs.recipe.cache_clear()
    assert len(list(cache.glob("yunet-*"))) == 2


@pytest.mark.parametrize("damage", ["flip", "half", "empty", "folder"])
def test_a_damaged_cache_is_rebuilt_never_believed(cache: Path, damage: str) -> None:
    graph = load_graph(YUNET, "folded")
    (path,) = cache.iterdir()
    kept = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        middle = len(kept) // 2
        flipped = kept[:middle] + bytes([kept[middle] ^ 1]) + kept[middle + 1 :]
        path.write_bytes({"flip": flipped, "half": kept[:middle], "empty": b""}[damage])
    assert load_graph(YUNET, "folded") == graph
    if damage != "folder":
        assert path.read_bytes() == kept
    assert [entry.name for entry in cache.iterdir()] == [path.name]


def test_a_kept_graph_is_used_without_onnx(cache: Path) -> None:
    load_graph(YUNET, "folded")
    assert list(cache.iterdir())
    script = (
        "import sys; from facegrep.vision import Model, load_manifest;"
        "from facegrep.vision._graphs import load_graph;"
        "load_graph(load_manifest('yunet'), 'folded'); sys.exit('onnx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_cache_that_cannot_be_written_costs_time_not_the_call(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = load_graph(YUNET, "folded")
    (cache / "file").write_bytes(b"")
    monkeypatch.setenv("FACEGREP_CACHE", str(cache / "file" / "below"))
    assert load_graph(YUNET, "folded") == graph


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACEGREP_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/facegrep")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/h")
    assert cache_folder() == Path("/h/.cache/facegrep")
    monkeypatch.setenv("FACEGREP_CACHE", "/own")
    assert cache_folder() == Path("/own")


def test_a_model_that_refers_to_other_files_is_refused() -> None:
    model = onnx.load_from_string(read_weights(YUNET))
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", os.fspath(Path("/etc/passwd"))
    with pytest.raises(ModelError, match="in other files"):
        parse(model.SerializeToString())


def test_a_branching_network_has_no_uint8_form() -> None:
    model = parse(read_weights(YUNET))
    fold(model, "input")
    with pytest.raises(ModelError, match="no uint8 form"):
        read_chain(model)
