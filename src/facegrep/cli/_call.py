"""``facegrep call``: an ICE action from the command line."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated

import typer

from facegrep.cli._opening import actor
from facegrep.cli._options import DeviceOption, PrecisionOption, StoreOption
from facegrep.cli._output import show_json


def call(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="Such as SearchMediaByFace.")],
    parameters: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Its parameters.")
    ] = None,
    store: StoreOption = None,  # type: ignore[assignment]
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--files",
            metavar="DIR",
            help="file: URLs may point below this folder (repeatable). Default: here.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
) -> None:
    r"""Call an ICE action and print its reply as JSON.

    `KEY=@FILE` takes the value from a file: a text file as it is (without a last line end), a
    picture as a data: URL. `KEY=@@TEXT` is a value that begins with @. The network is off: URLs
    are data: or file:. An error reply is printed too, and the exit code is 1. After an insert or a
    rerun the command ends when the analysis is done.

    [bold]Examples[/bold]

        facegrep call SearchMediaByFace PersonImageUrl=@grandma.jpg \
            FaceSearchToken=t1 SearchLibName=family PageSize=20

        facegrep call CreateSearchLib SearchLibName=archive
    """
    import facegrep
    from facegrep.ice import IceError, Service

    request = dict(_parameter(text) for text in parameters or ())
    if len(request) != len(parameters or ()):
        raise typer.BadParameter("a parameter is given twice", param_hint="KEY=VALUE")
    with facegrep.open(store, device=device, precision=precision, actor=actor()) as engine:
        service = Service(engine, files=tuple(files or [Path.cwd()]))
        try:
            show_json(service.call(action, request))
            if action in ("InsertMediaToSearchLib", "SearchIndexJobRerun"):
                engine.wait_for_jobs()  # they would end with this process
        except IceError as error:
            show_json(error.to_reply())
            raise typer.Exit(1) from error


def _parameter(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"expected KEY=VALUE, got {text!r}", param_hint="KEY=VALUE")
    if value.startswith("@@"):
        return key, value[1:]
    if value.startswith("@"):
        return key, _value_of(Path(value[1:]))
    return key, value


def _value_of(file: Path) -> str:
    from facegrep.media import MAX_BYTES

    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise typer.BadParameter(f"cannot read {file}: {reason}", param_hint="KEY=@FILE") from error
    if len(content) > MAX_BYTES:
        raise typer.BadParameter(f"{file} is too large", param_hint="KEY=@FILE")
    if not content:  # an empty value would be a parameter not given
        raise typer.BadParameter(f"{file} is empty", param_hint="KEY=@FILE")
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return f"data:;base64,{base64.b64encode(content).decode()}"
