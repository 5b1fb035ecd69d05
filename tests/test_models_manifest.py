from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from facegrep import ModelError
from facegrep.vision import EmbedderManifest, FaceAnalyzer, load_manifest, manifests
from facegrep.vision._weights import read_weights

MANIFEST = """
format = 1
kind = "embedder"
id = "{name}-id"
detector = "yunet"
dim = {dim}
threshold_floor = 0.5

[weights]
file = "{file}"
size_bytes = {size}
sha256 = "{sha256}"
licence = "none"

[input]
name = "in"
channels = "bgr"
mean = 127.5
scale = 0.0078125

[output]
name = "out"

[crop]
side_px = 32
landmarks_px = [[10, 12], [22, 12], [16, 18], [11, 24], [21, 24]]
"""


def tiny_onnx(dim: int = 6, *, scale: float = 1.0) -> bytes:
    """Conv -> PReLU (slopes on both sides of 1) -> Reshape to a batch of 1, as many exports do."""
    rng = np.random.default_rng(7)
    weight = (rng.normal(size=(dim, 3, 32, 32)) * scale).astype(np.float32)
    slope = np.linspace(-0.5, 1.7, dim, dtype=np.float32).reshape(dim, 1, 1)
    nodes = [
        helper.make_node("Conv", ["in", "w"], ["c"], kernel_shape=[32, 32]),
        helper.make_node("PRelu", ["c", "slope"], ["p"]),
        helper.make_node("Reshape", ["p", "shape"], ["out"]),
    ]
    constants: dict[str, np.ndarray] = {
        "w": weight,
        "slope": slope,
        "shape": np.array([1, -1], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("in", onnx.TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [1, dim])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def write_model(
    folder: Path, name: str = "tiny", *, content: bytes | None = None, dim: int = 6
) -> Path:
    """Write a folder with a manifest and its weights."""
    content = tiny_onnx(dim) if content is None else content
    place = folder / name
    place.mkdir(parents=True)
    (place / "tiny.onnx").write_bytes(content)
    text = MANIFEST.format(
        name=name,
        dim=dim,
        file="tiny.onnx",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    (place / "manifest.toml").write_text(text)
    return place


def edit_manifest(place: Path, old: str, new: str) -> None:
    """Replace a part of a manifest that is there."""
    text = (place / "manifest.toml").read_text()
    if old not in text:
        raise ValueError(old)
    (place / "manifest.toml").write_text(text.replace(old, new))


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("FACEGREP_MODELS", str(folder))
    monkeypatch.setenv("FACEGREP_CACHE", str(tmp_path / "cache"))
    return folder


def test_the_manifests_we_ship_are_valid_and_name_a_detector_we_ship() -> None:
    shipped = manifests()
    assert {"sface", "yunet", "mobilefacenet512"} <= set(shipped)
    for model in shipped.values():
        if isinstance(model.manifest, EmbedderManifest):
            assert model.manifest.detector in shipped
        assert (model.folder / "README.md").is_file()


def test_a_model_is_found_by_its_name_and_by_its_id() -> None:
    assert load_manifest("sface") == load_manifest("sface-2021dec")


def test_the_carried_weights_are_those_of_the_manifest() -> None:
    assert len(read_weights(load_manifest("yunet"))) == 122_489


@pytest.mark.parametrize(
    "name", ["", "../sface", "/etc", "no-such-model", "SFACE", "a" * 300, "a\0"]
)
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ModelError, match="sface"):
        load_manifest(name)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('file = "tiny.onnx"', 'file = "../tiny/tiny.onnx"'),
        ('file = "tiny.onnx"', 'file = "/etc/passwd"'),
        ('file = "tiny.onnx"', 'file = "a\\u0000b"'),
        ('file = "tiny.onnx"', 'file = "."'),
        ("threshold_floor = 0.5", "threshold_floor = nan"),
        ("threshold_floor = 0.5", "threshold_floor = 1.5"),
        ("threshold_floor = 0.5", "treshold_floor = 0.5"),
        ("mean = 127.5", "mean = inf"),
        ("dim = 6", "dim = 0"),
        ("dim = 6", "dim = 4097"),
        ("format = 1", "format = 2"),
        ('id = "tiny-id"', 'id = "tiny-id\\n"'),
        ('kind = "embedder"', 'kind = "loader"'),
        ('channels = "bgr"', 'channels = "hsv"'),
        ("[22, 12]", "[10, 12]"),
        ("[22, 12]", "[22, 1200]"),
        ("format = 1", "format = 1\n" + "a = " + "[" * 5000),
        ("format = 1", "format = 1 #" + "x" * 70_000),
    ],
)
def test_a_manifest_that_is_not_valid_is_refused_by_its_path(
    added: Path, old: str, new: str
) -> None:
    place = write_model(added)
    edit_manifest(place, old, new)
    with pytest.raises(ModelError, match=r"tiny/manifest\.toml"):
        load_manifest("tiny")


def test_a_manifest_that_is_not_a_regular_file_is_not_opened(added: Path) -> None:
    (added / "pipe").mkdir()
    os.mkfifo(added / "pipe" / "manifest.toml")
    assert "pipe" not in manifests()


def test_bytes_that_are_not_text_are_no_manifest(added: Path) -> None:
    place = write_model(added)
    (place / "manifest.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match=r"tiny/manifest\.toml"):
        load_manifest("tiny")


def test_two_models_of_one_id_are_refused(added: Path) -> None:
    write_model(added, "one")
    edit_manifest(write_model(added, "two"), "two-id", "one-id")
    with pytest.raises(ModelError, match="both have the id 'one-id'"):
        manifests()


def test_an_added_folder_goes_before_ours(added: Path) -> None:
    write_model(added, "sface")
    assert load_manifest("sface").manifest.id == "sface-id"


def test_the_weights_of_a_shipped_manifest_may_lie_in_an_added_folder(added: Path) -> None:
    (added / "mobilefacenet512").mkdir()
    (added / "mobilefacenet512" / "fr_feature.onnx").write_bytes(b"too short")
    with pytest.raises(ModelError, match=r"should have 4884269 bytes, has 9"):
        read_weights(load_manifest("mobilefacenet512"))


def test_absent_weights_are_an_error_that_says_where_to_put_them(added: Path) -> None:
    (write_model(added) / "tiny.onnx").unlink()
    with pytest.raises(ModelError, match=r"put tiny\.onnx into .* FACEGREP_MODELS"):
        FaceAnalyzer("tiny")


@pytest.mark.parametrize("change", [b"x", b""])
def test_weights_of_another_length_are_refused(added: Path, change: bytes) -> None:
    content = tiny_onnx()
    path = write_model(added, content=content) / "tiny.onnx"
    path.write_bytes(content + change if change else content[:-1])
    with pytest.raises(ModelError, match="bytes, has"):
        FaceAnalyzer("tiny")


def test_one_flipped_bit_in_the_weights_is_noticed(added: Path) -> None:
    path = write_model(added) / "tiny.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="should have sha256"):
        FaceAnalyzer("tiny")


def test_weights_that_are_not_a_regular_file_are_not_opened(added: Path) -> None:
    path = write_model(added) / "tiny.onnx"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ModelError, match="not a regular file"):
        FaceAnalyzer("tiny")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dim = 6", "dim = 7", "expected embeddings float32 \\(2, 7\\)"),
        ('name = "in"', 'name = "input"', "no input 'input'"),
        ('name = "out"', 'name = "output"', "no output 'output'"),
        ("side_px = 32", "side_px = 48", "expected embeddings|failed on input"),
        ('detector = "yunet"', 'detector = "sface"', "as its detector, which is none"),
        ('detector = "yunet"', 'detector = "nothing"', "no model 'nothing'"),
    ],
)
def test_a_graph_that_is_not_what_the_manifest_says_is_refused_on_loading(
    added: Path, old: str, new: str, message: str
) -> None:
    edit_manifest(write_model(added), old, new)
    with pytest.raises(ModelError, match=message):
        FaceAnalyzer("tiny")


@pytest.mark.parametrize("content", [b"\x08", b"not an onnx file", b"\xff" * 64])
def test_weights_that_are_not_onnx_are_a_model_error(added: Path, content: bytes) -> None:
    write_model(added, content=content)
    with pytest.raises(ModelError):
        FaceAnalyzer("tiny")


def test_int8_of_a_model_without_ranges_is_refused(added: Path) -> None:
    write_model(added)
    with pytest.raises(ValueError, match="'tiny' has no int8 graph"):
        FaceAnalyzer("tiny", precision="int8")


def test_another_model_needs_a_folder_and_no_code(added: Path) -> None:
    write_model(added)
    portrait = Path(__file__).parent / "data" / "portraits" / "Rishi_Sunak" / "impostor_2.jpg"
    picture = np.asarray(Image.open(portrait).convert("RGB"))
    analyzer = FaceAnalyzer("tiny")
    assert (analyzer.model_id, analyzer.dim, analyzer.threshold_floor) == ("tiny-id", 6, 0.5)
    (face,) = analyzer.analyze([picture])[0].faces
    assert face.embedding.shape == (6,)
    assert float(np.linalg.norm(face.embedding)) == pytest.approx(1, abs=1e-6)


def test_another_model_computes_what_its_graph_says(added: Path) -> None:
    write_model(added)
    crops = np.random.default_rng(3).integers(0, 256, (5, 32, 32, 3), np.uint8)
    fed = (crops[..., ::-1].transpose(0, 3, 1, 2).astype(np.float64) - 127.5) * 0.0078125
    constants = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load_from_string(tiny_onnx()).graph.initializer
    }
    sums = np.tensordot(fed, constants["w"].astype(np.float64), axes=([1, 2, 3], [1, 2, 3]))
    expected = np.where(sums > 0, sums, sums * constants["slope"].ravel())
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(FaceAnalyzer("tiny").embed(crops), expected, atol=1e-6)


@pytest.mark.parametrize("scale", [3e37, 0.0])
def test_an_embedding_without_a_direction_never_leaves(added: Path, scale: float) -> None:
    write_model(added, content=tiny_onnx(scale=scale))
    analyzer = FaceAnalyzer("tiny")
    with pytest.raises(ModelError, match="crop 0: the model gave no finite embedding"):
        analyzer.embed(np.full((1, 32, 32, 3), 255, np.uint8))
    portrait = Path(__file__).parent / "data" / "portraits" / "Rishi_Sunak" / "impostor_2.jpg"
    (analysis,) = analyzer.analyze([np.asarray(Image.open(portrait).convert("RGB"))])
    assert analysis.faces == ()
    assert [face.reason for face in analysis.refused] == ["the model gave no finite embedding"]


@pytest.mark.skipif(
    "FACEGREP_TEST_512D_MODEL" not in os.environ,
    reason="the optional 512-d model is no package we depend on (FACEGREP_TEST_512D_MODEL)",
)
def test_the_512_d_model_recognises_the_people_of_the_portraits(added: Path) -> None:
    (added / "mobilefacenet512").mkdir()
    source = Path(os.environ["FACEGREP_TEST_512D_MODEL"])
    shutil.copy(source, added / "mobilefacenet512" / "fr_feature.onnx")
    photos = sorted((Path(__file__).parent / "data" / "portraits").glob("*/*.jpg"))
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in photos]
    analyzer = FaceAnalyzer("mobilefacenet512")
    vectors = np.stack([found.faces[0].embedding for found in analyzer.analyze(pictures)])
    assert vectors.shape == (len(photos), 512)
    people = np.array([path.parent.name for path in photos])
    same = people[:, None] == people
    scores = vectors @ vectors.T
    assert scores[same].min() > analyzer.threshold_floor > scores[~same].max()


TABLES = {
    "genuine": "{ pairs = 10, mean = 0.6, sd = 0.1, mislabelled = 0.0 }",
    "impostor": "{ pairs = 100, mean = 0.1, sd = 0.1, tail = "
    "{ share = 0.1, start = 0.2, mean = 0.1, sd = 0.09 } }",
    "thresholds": "[[0.5, 0.1], [0.001, 0.4]]",
    "odds": "[[0.1, -2.0], [0.5, 2.0]]",
}


def calibration_toml(**changes: str) -> str:
    tables = TABLES | changes
    return "\n".join(["[calibration]", 'data = "made up"', *(f"{k} = {tables[k]}" for k in tables)])


@pytest.mark.parametrize(
    "changes",
    [
        {"thresholds": "[[0.001, 0.4], [0.5, 0.1]]"},
        {"thresholds": "[[0.5, 0.1], [nan, 0.4]]"},
        {"thresholds": "[[0.5, 0.1], [0.001]]"},
        {"thresholds": '"all"'},
        {"thresholds": "[" * 9000},
        {"odds": "[[0.1, -2.0], [0.5, inf]]"},
        {"odds": "[[0.1, -2.0], [0.5, 1e400]]"},
        {"odds": f"[{', '.join(f'[{row / 1000}, {row / 1000}]' for row in range(300))}]"},
        {"genuine": TABLES["genuine"].replace("10", "9" * 5000)},
        {"genuine": TABLES["genuine"].replace("10", "0")},
        {"impostor": TABLES["impostor"].replace("mean = 0.1, sd = 0.09", "mean = nan, sd = 0.09")},
        {"impostor": TABLES["impostor"].replace("sd = 0.09", "sd = -0.09")},
        {"extra": "1"},
    ],
)
def test_a_calibration_that_is_none_is_a_model_error(added: Path, changes: dict[str, str]) -> None:
    path = write_model(added) / "manifest.toml"
    plain = path.read_text()
    path.write_text(f"{plain}\n{calibration_toml()}\n")
    manifest = load_manifest("tiny").manifest
    assert isinstance(manifest, EmbedderManifest)
    assert manifest.calibration is not None
    path.write_text(f"{plain}\n{calibration_toml(**changes)}\n")
    with pytest.raises(ModelError, match=r"manifest\.toml"):
        load_manifest("tiny")
