"""``facegrep serve``: the endpoint that the vendor's client can call."""

from __future__ import annotations

from typing import Annotated

import typer

from facegrep.cli._opening import actor, open_existing
from facegrep.cli._options import DeviceOption, PrecisionOption, StoreOption
from facegrep.cli._output import show_error


def serve(
    store: StoreOption = None,  # type: ignore[assignment]
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; 0 for any that is free.")
    ] = 8080,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=64, help="Processes that answer.")
    ] = 1,
    operations_port: Annotated[
        int | None,
        typer.Option(
            "--operations-port",
            min=1,
            max=65535,
            help="Serve /healthz, /readyz and /metrics on this port instead.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
) -> None:
    """Answer the vendor's own client over HTTP; needs the extra "server".

    Prints one line with the address when it is ready. Stops on SIGTERM or Ctrl-C, once calls that
    are under way have been answered. Keys are made with `facegrep keys create`; if their secrets
    are encrypted, FACEGREP_MASTER_KEY or FACEGREP_MASTER_KEY_FILE must be set as it was then. It
    speaks plain HTTP: put what speaks TLS in front of it.
    """
    import logging

    try:
        from facegrep.server._serve import Settings, serve
    except ImportError as error:
        show_error(f"{error.name} is not installed; pip install 'facegrep[server]'")
        raise typer.Exit(1) from error

    logging.basicConfig(level=logging.WARNING)
    open_existing(store).close()
    settings = Settings(
        store=store.absolute(),
        actor=actor(),
        device=device,
        precision=precision,
        operations_port=operations_port,
    )
    serve(settings, host, port, workers, _show_address)


def _show_address(address: str) -> None:
    typer.echo(f"facegrep is ready: {address}")
