"""The commands, put together, and what they share: the store, the exit codes, the look of an error.

Exit codes: 0, all went well; 1, it ran and something failed; 2, the command line was wrong.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from facegrep._errors import FacegrepError, NotFoundError, StoreNotFound, StoreVersionError
from facegrep.cli._add import add
from facegrep.cli._audit import audit
from facegrep.cli._bench import bench
from facegrep.cli._call import call
from facegrep.cli._catalog import delete, libraries, media
from facegrep.cli._demo import demo
from facegrep.cli._doctor import doctor
from facegrep.cli._drop_account import drop_account
from facegrep.cli._erase import erase, purge
from facegrep.cli._keys import keys
from facegrep.cli._options import STORE_HELP
from facegrep.cli._output import show_error
from facegrep.cli._people import people
from facegrep.cli._search import search
from facegrep.cli._serve import serve
from facegrep.cli._upkeep import backup, compact, retention, verify

HELP = """Which of my photos and videos contain this person?

Put photos and videos in, show a face, get the media the person is in. All on this machine.

[bold]Example[/bold]

    facegrep add ~/Pictures --library family
    facegrep search grandma.jpg --library family --html found.html

[bold]Exit codes[/bold]

    0  all went well
    1  it ran, and something failed (one red line, or a list, says what)
    2  the command line was wrong; nothing was done
"""


class _OneLineErrors(TyperGroup):
    """Errors that a user can meet are one line on stderr, never a traceback."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except StoreNotFound as error:
            where = str(error).partition(";")[0]
            show_error(f"{where}; `facegrep add` makes one, --store names another")
            raise typer.Exit(1) from error
        except NotFoundError as error:
            lists = {
                "library": "libraries",
                "person": "people",
                "face": "people",
                "access key": "keys list",
                "account": "keys list",
            }
            what = lists.get(error.kind, "media")
            show_error(f"{error.kind} {error.name!r} does not exist; see `facegrep {what}`")
            raise typer.Exit(1) from error
        except StoreVersionError as error:
            if error.found > error.supported:
                show_error(str(error))
            else:
                show_error(
                    f"{str(error).partition(';')[0]}; `facegrep compact`, or any command that "
                    "writes, upgrades it in place: end what uses it with an older one first"
                )
            raise typer.Exit(1) from error
        except FacegrepError as error:
            show_error(str(error))
            raise typer.Exit(1) from error
        except BrokenPipeError:  # `facegrep media | head`: typer ends quietly
            raise
        except OSError as error:
            show_error(f"{error.filename or 'the system'}: {error.strerror or error}")
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_OneLineErrors,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"facegrep {metadata.version('facegrep')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help=STORE_HELP, show_default=False)
    ] = None,
    version: Annotated[  # noqa: ARG001 - typer calls back
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = store


def _help_of(command: Callable[..., object]) -> str:
    """Join the lines of each paragraph of a docstring; typer would keep them apart."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(
        text if text.startswith(" ") else " ".join(text.split()) for text in paragraphs
    )


for command in (
    *(add, search, call, libraries, media, delete, erase, retention, purge),
    *(drop_account, verify, backup, compact, serve, doctor, demo),
):
    app.command(help=_help_of(command))(command)
for name, group in {"people": people, "audit": audit, "keys": keys, "bench": bench}.items():
    for known in group.registered_commands:
        if known.callback is not None:
            known.help = _help_of(known.callback)
    app.add_typer(group, name=name)
