"""The shape of the tree: the rules of CONTRIBUTING.md that a machine can hold."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "facegrep"
CODE = {".py", ".pyi", ".cpp", ".hpp", ".sh", ".cmake"}

# What each room may import, beside what is open to all; `__init__`, `__main__`, `cli` stand above.
OPEN_TO_ALL = {"_errors", "_stages"}
BELOW: dict[str, set[str]] = {
    "index": set(),
    "media": set(),
    "vision": set(),
    "video": {"media", "vision"},
    "store": {"index"},
    "engine": {"index", "media", "store", "video", "vision"},
    "_bench": {"index"},
    "ice": {"engine", "index", "media", "store", "video", "vision"},
    "keys": {"engine", "index", "store"},
    "fetch": {"media"},
    "server": {"engine", "fetch", "ice", "index", "keys", "vision"},
}
INDEX_MODULES = {"_arguments", "_core", "_index", "_names", "_result", "_where"}


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what belongs to the tree is unknown")
    # Also when the checkout belongs to somebody else, as in a container.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return ""  # a picture


def lines_that_say(pattern: str, paths: list[Path]) -> list[str]:
    found = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if found.search(line)
    ]


def room_of(module: tuple[str, ...]) -> str | None:
    """The room of a module of facegrep, given without its first name; None stands above all."""
    first = module[0] if module else "__init__"
    if first in {"__init__", "__main__", "cli"}:
        return None
    return "index" if first in INDEX_MODULES else first


def imported_by(path: Path) -> list[tuple[str, ...]]:
    """The modules of facegrep that a file imports, also inside functions and for types alone."""
    modules: list[tuple[str, ...]] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            above = tuple(node.module.split("."))
            modules += [(*above, alias.name) for alias in node.names]
    return [module[1:] for module in modules if module[0] == "facegrep"]


def test_dependencies_point_down() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = room_of(path.relative_to(PACKAGE).with_suffix("").parts)
        if room is None or room in OPEN_TO_ALL:
            continue
        assert room in BELOW, f"{path.name} has no room: give it one here and in ARCHITECTURE.md"
        for module in imported_by(path):
            other = room_of(module)
            if other == room or other in OPEN_TO_ALL | BELOW[room]:
                continue
            wrong.append(f"{path.relative_to(ROOT)} imports facegrep.{'.'.join(module)}")
    assert not wrong


def test_only_ice_knows_the_words_of_the_wire() -> None:
    below = [path for path in PACKAGE.rglob("*.py") if not {"ice", "cli"} & set(path.parts)]
    assert below
    assert not lines_that_say(r"PersonImageUrl|MediaInfoList|FaceSearchToken", below)


def test_the_engine_in_cpp_does_not_know_python() -> None:
    engine = [
        path for folder in ("include", "src") for path in (ROOT / "cpp" / folder).rglob("*.?pp")
    ]
    assert engine
    assert not lines_that_say(r"pybind11|Python\.h|PyObject", engine)


def test_only_the_build_of_the_engine_names_instruction_sets(tracked: list[Path]) -> None:
    paths = [p for p in tracked if p != ROOT / "cpp/CMakeLists.txt" and p.suffix != ".md"]
    assert not lines_that_say(r"-m(arch=|tune=|avx|sse|fma\b|f16c|bmi)", paths)


def test_nothing_gives_up_exact_arithmetic(tracked: list[Path]) -> None:
    paths = [path for path in tracked if path.name == "CMakeLists.txt" or path.suffix == ".json"]
    assert not lines_that_say(r"-ffast-math|-Ofast|-m[a]rch=native|-ffp-contract=fast", paths)


def test_no_file_of_code_is_longer_than_500_lines(tracked: list[Path]) -> None:
    code = [path for path in tracked if path.suffix in CODE]
    lengths = {path.name: len(text_of(path).splitlines()) for path in code}
    assert not {name: lines for name, lines in lengths.items() if lines > 500}


def test_no_file_is_named_after_nothing(tracked: list[Path]) -> None:
    names = re.compile(r"(^|[/_])(utils?|common|helpers?|misc|stuff)([/_.]|$)")
    assert not [path for path in tracked if names.search(path.relative_to(ROOT).as_posix())]


def test_imports_are_absolute() -> None:
    wrong = [
        path
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not wrong


def test_the_tree_names_no_machine_and_no_registry(tracked: list[Path]) -> None:
    # The user's pip and apt know where packages come from. (Written so as not to match themselves.)
    homes = r"(?<![\w.])/(?:work|root|home/\w+)/"
    hosts = r"\b(?:pypi|pythonhosted|npmjs|anaconda)\.(?:org|com)\b|\bdeb\.debian\."
    options = r"--(?:extra-)?index[-]url|--find[-]links|--trusted[-]host"
    assert not lines_that_say(f"{homes}|{hosts}|{options}", tracked)


def test_no_weights_are_kept(tracked: list[Path]) -> None:
    weights = {".onnx", ".pt", ".pth", ".safetensors", ".npz", ".bin"}
    assert not [path for path in tracked if path.suffix in weights]
    assert not [path for path in tracked if path.stat().st_size > 1_000_000]


def test_the_commands_that_readme_begins_with_exist() -> None:
    blocks = re.findall(r"```\w*\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    commands = [line.split("#")[0].split() for line in blocks[0].splitlines() if line.strip()]
    assert [words for words in commands if words[0] == "make"] == [
        ["make", "demo"],
        ["make", "test"],
    ]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {"demo", "test", "lint", "asan", "help"} <= set(targets)
