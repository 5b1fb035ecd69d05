"""What the command says before it does anything: help, wrong command lines, where the store is."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner, Result

from facegrep.cli._add import add
from facegrep.cli._app import app
from facegrep.cli._call import call
from facegrep.cli._doctor import has_wal_reset_bug
from facegrep.cli._options import default_store
from facegrep.cli._output import counted, printable, show_table
from facegrep.cli._search import search


def commands_of(group: Any) -> Iterator[list[str]]:
    """Those that there are: a new one is among them by itself."""
    for name, command in group.commands.items():
        yield [name]
        if hasattr(command, "commands"):
            yield from ([name, *below] for below in commands_of(command))


COMMANDS = list(commands_of(get_command(app)))


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="facegrep")


@pytest.mark.parametrize("command", [[], *COMMANDS], ids=" ".join)
def test_every_command_explains_itself(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert f"Usage: facegrep {' '.join(command)}".strip() in result.output
    assert "\x1b" not in result.output


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_folded_at_the_window_and_not_where_the_source_is(command: list[str]) -> None:
    above = run(*command, "--help").output.partition("╭")[0]
    for paragraph in re.split(r"\n\s*\n", above):
        whole = paragraph.strip().splitlines()[:-1]
        assert all(len(line.strip()) > 60 for line in whole), paragraph


def test_help_has_the_exit_codes_and_examples_to_copy() -> None:
    assert "1  it ran, and something failed" in run("--help").output
    for command, function in (("add", add), ("search", search), ("call", call)):
        shown = {line.strip() for line in run(command, "--help").output.splitlines()}
        meant = inspect.cleandoc(function.__doc__ or "").splitlines()
        examples = [line.strip() for line in meant if line.startswith("    ")]
        assert any(line.startswith(f"facegrep {command} ") for line in examples)
        assert shown.issuperset(examples), "80 columns fold what is longer"


@pytest.mark.parametrize("words", [["libraries"], ["--help"]])
def test_a_cpu_tier_that_does_not_exist_is_one_line_and_exit_code_2(words: list[str]) -> None:
    command = [sys.executable, "-m", "facegrep", *words]
    env = {**os.environ, "FACEGREP_ISA": "sse9"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("facegrep: FACEGREP_ISA=sse9: expected one of ")
    assert done.stderr.count("\n") == 1


def test_a_narrow_terminal_folds_names_and_never_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = Console(width=34)
    monkeypatch.setattr("facegrep.cli._output.console", lambda: narrow)
    cells = {"": 1, "score": "0.9999", "media": "a" * 80, "face at": "238, 188", "faces": 1}
    show_table(cells, [cells.values()], numbers=frozenset(cells.keys() - {"media"}))
    assert "1  0.9999  aaaaaa  238, 188      1\n" in capsys.readouterr().out


def test_one_thing_is_not_counted_as_many() -> None:
    assert counted(1, "face", "faces") == "1 face"
    assert counted(1000, "face", "faces") == "1,000 faces"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["frobnicate"], "No such command"),
        (["add"], "Missing argument"),
        (["add", "x", "--field", "intField1"], "expected intField1="),
        (["add", "x", "--field", "colour=red"], "expected intField1="),
        (["add", "x", "--field", "intField1=many"], "takes an integer"),
        (["add", "x", "--field", f"intField1={2**63}"], "takes an integer of 64 bits"),
        (["add", "x", "--field", "intField1=1_0"], "takes an integer"),
        (["add", "x", ""], "expected photos or folders"),
        (["add", "x", "--field", "strField1=a", "--field", "strField1=b"], "given twice"),
        (["search", "x", "--threshold", "2"], "expected a cosine"),
        (["search", "x", "--threshold", "nan"], "expected a cosine"),
        (["search", "x", "--limit", "0"], "greater than or equal to 1"),
        (["search", "x", "--where", "{"], "not JSON"),
        (["search", "x", "--where", "[1]"], "expected an object"),
        (["search", "x", "--where", '{"intField1":1,"intField1":2}'], "given twice"),
        (["search", "x", "--where", '{"intField1":NaN}'], "not JSON"),
        (["search", "x", "--where", "[" * 100_000], "not JSON"),
        (["search", "x", "--device", "tpu"], "Invalid value"),
        (["call", "ListSearchLib", "PageNo"], "expected KEY=VALUE"),
        (["call", "ListSearchLib", "PageNo=1", "PageNo=2"], "given twice"),
        (["call", "ListSearchLib", "PageNo=@/no/such/file"], "cannot read"),
        (["media", "--limit", "many"], "Invalid value"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_exit_code_2_and_touches_nothing(
    tmp_path: Path, words: list[str], complaint: str
) -> None:
    result = run("--store", tmp_path / "store", *words)
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""
    assert not (tmp_path / "store").exists()


def test_the_store_is_told_or_in_the_users_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEGREP_STORE", "/told")
    assert default_store() == Path("/told")
    monkeypatch.setenv("FACEGREP_STORE", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_store() == tmp_path / "facegrep"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_store() == tmp_path / "home/.local/share/facegrep"


def test_the_version_is_the_packages() -> None:
    import facegrep

    assert run("--version").output == f"facegrep {facegrep.__version__}\n"


def test_the_library_imports_nothing_of_the_command() -> None:
    code = (
        "import facegrep, json, sys;"
        "print(json.dumps([m for m in ('typer', 'rich', 'PIL') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout) == []


def test_what_would_steer_a_terminal_is_shown_instead() -> None:
    assert printable("été 顔 🙂.jpg") == "été 顔 🙂.jpg"
    assert printable("\x1b[2J\x9b\u202e\n\udcff") == "\\x1b[2J\\x9b\\u202e\\n\\udcff"


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)
def test_sqlite_versions_with_the_wal_reset_bug_are_known(
    version: tuple[int, ...], affected: bool
) -> None:
    assert has_wal_reset_bug(version) is affected
