"""``facegrep doctor``: what this installation can do, and what is wrong with it."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import typer

from facegrep._errors import FacegrepError, StoreNotFound
from facegrep.cli._options import JsonOption, StoreOption
from facegrep.cli._output import counted, show_error, show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from facegrep import Engine
    from facegrep.engine import Library


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report; `problem` says what to do, and is empty when all is well."""

    what: str
    value: str
    problem: str = ""


def doctor(
    store: StoreOption = None,  # type: ignore[assignment]
    as_json: JsonOption = False,
) -> None:
    """Show what runs here: CPU tier, provider, models and hashes, SQLite, the store's health.

    Nothing in the store is changed, nothing is downloaded. The exit code is 1 when something needs
    mending.
    """
    findings = [*_software(), *_vision(), *_store(store)]
    if as_json:
        show_json([asdict(finding) for finding in findings])
    else:
        show_table(["", "found"], ((finding.what, finding.value) for finding in findings))
    problems = [finding for finding in findings if finding.problem]
    for finding in problems:
        show_error(f"{finding.what}: {finding.problem}")
    if problems:
        raise typer.Exit(1)


def _software() -> Iterator[Finding]:
    import facegrep

    yield Finding("facegrep", metadata.version("facegrep"))
    yield Finding("python", f"{platform.python_version()} on {platform.platform()}")
    yield Finding("CPU tier of the index", facegrep.active_isa())
    yield Finding("numpy, pillow", f"{metadata.version('numpy')}, {metadata.version('pillow')}")
    version = sqlite3.sqlite_version
    note = ""
    if has_wal_reset_bug(sqlite3.sqlite_version_info):
        note = (
            " (has SQLite's WAL-reset bug, fixed in 3.51.3; it needs a checkpoint that races a "
            "commit, and the store's one lock lets neither start while the other runs)"
        )
    yield Finding("SQLite", version + note)


def has_wal_reset_bug(version: tuple[int, ...]) -> bool:
    """Whether a SQLite has the bug by which a checkpoint that races a commit may lose pages."""
    if version < (3, 7, 0) or version >= (3, 51, 3):
        return False
    return not ((3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45))


def _vision() -> Iterator[Finding]:
    from facegrep.vision import doctor_report

    report = doctor_report()
    problems = report.pop("problems")
    for name, value in report.items():
        if isinstance(value, Mapping):
            yield from (Finding(f"{name}: {key}", str(inner)) for key, inner in value.items())
        else:
            yield Finding(name, str(value))
    yield from (Finding("to mend", problem, problem=problem) for problem in problems)


def _store(path: Path) -> Iterator[Finding]:
    import facegrep

    try:
        with facegrep.open(path, readonly=True) as engine:
            libraries = engine.libraries()
            yield Finding("store", f"{path}: {counted(len(libraries), 'library', 'libraries')}")
            for library in libraries:
                yield _library(engine, library)
    except StoreNotFound:
        yield Finding("store", f"{path}: none yet; `facegrep add` makes one")
    except FacegrepError as error:
        yield Finding("store", str(path), problem=str(error))


def _library(engine: Engine, library: Library) -> Finding:
    """Read every row and vector of it and compare their checksums."""
    value = f"{library.media_count:,} media, {counted(library.face_count, 'face', 'faces')}"
    report = engine.verify(library.name)
    if not report.ok:
        problem = "; ".join(damage.what for damage in report.damages)
        return Finding(f"library {library.name}", value, problem=problem)
    return Finding(f"library {library.name}", f"{value}, all vectors whole")
