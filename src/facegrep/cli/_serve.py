"""``facegrep serve``: the endpoint that the vendor's client can call."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from facegrep.cli._opening import actor, open_existing
from facegrep.cli._options import DeviceOption, PrecisionOption, StoreOption
from facegrep.cli._output import show_error, show_note


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
    allow_http: Annotated[
        bool, typer.Option("--allow-http", help="Fetch http: URLs, too.")
    ] = False,
    allow_fetch: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-fetch",
            metavar="HOST:PORT",
            help="Fetch from here though it is not public, or another port; *.HOST:PORT, too "
            "(repeatable).",
            show_default=False,
        ),
    ] = None,
    fetch_host: Annotated[
        list[str] | None,
        typer.Option(
            "--fetch-host",
            metavar="HOST",
            help="Fetch from this host alone, or *.HOST (repeatable). Default: any public one.",
            show_default=False,
        ),
    ] = None,
    oss_root: Annotated[
        str | None,
        typer.Option(
            "--oss-root",
            metavar="DIR_OR_URL",
            help="Where oss://bucket/key is: DIR/bucket/key, or https://bucket.ENDPOINT/key.",
            show_default=False,
        ),
    ] = None,
    rate_limit: Annotated[
        float | None,
        typer.Option(
            "--rate-limit",
            metavar="N",
            min=0.001,
            help="Calls a second that a worker takes from one key. Default: any number.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
) -> None:
    """Answer the vendor's own client over HTTP; needs the extra "server".

    Prints one line with the address when it is ready. Stops on SIGTERM or Ctrl-C, once calls that
    are under way have been answered. Keys are made with `facegrep keys create`; if their secrets
    are encrypted, FACEGREP_MASTER_KEY or FACEGREP_MASTER_KEY_FILE must be set as it was then.
    Pictures and videos of https: URLs are fetched from public addresses, those of file: URLs never.
    It speaks plain HTTP: put what speaks TLS in front of it.
    """
    import logging

    from facegrep.store import now_ms

    try:
        from facegrep.server._serve import Settings, serve
    except ImportError as error:
        show_error(f"{error.name} is not installed; pip install 'facegrep[server]'")
        raise typer.Exit(1) from error

    logging.basicConfig(level=logging.WARNING)
    with open_existing(store) as engine:
        # Where no nonce can be remembered every call is refused, though the store opens and reads.
        engine.access.use_nonce("-", secrets.token_hex(16), now_ms())
        if not engine.access.list_keys():
            show_note("nobody has a key yet; `facegrep keys create` makes one")
    settings = Settings(
        store=store.absolute(),
        actor=actor(),
        device=device,
        precision=precision,
        operations_port=operations_port,
        allow_http=allow_http,
        fetch_hosts=tuple(fetch_host or ()),
        fetch_exceptions=tuple(allow_fetch or ()),
        oss_root=oss_root,
        rate_limit_per_s=rate_limit,
    )
    serve(settings, host, port, workers, _show_address)


def _show_address(address: str) -> None:
    typer.echo(f"facegrep is ready: {address}")
