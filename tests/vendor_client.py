"""The vendor's own client, pointed at loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest


def load() -> Any:
    """Its models and its client; skips where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies' own
        return pytest.importorskip("alibabacloud_ice20201109")


def without_proxies(patch: pytest.MonkeyPatch) -> None:
    """It would send what is for loopback to a proxy of the environment."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        patch.delenv(name, raising=False)


def exceptions() -> Any:
    """What it raises."""
    load()
    from alibabacloud_tea_openapi import exceptions

    return exceptions


def client(address: str, key_id: str, secret: str, token: str | None = None) -> Any:
    """A client as the README tells to make one."""
    load()
    from alibabacloud_ice20201109.client import Client
    from alibabacloud_tea_openapi.models import Config

    return Client(
        Config(
            access_key_id=key_id,
            access_key_secret=secret,
            security_token=token,
            endpoint=address,
            protocol="http",
        )
    )


def request(action: str, **fields: Any) -> Any:
    """A request by the name of its action."""
    load()
    from alibabacloud_ice20201109 import models

    return getattr(models, f"{action}Request")(**fields)


def method(action: str) -> str:
    """``SearchMediaByFace`` to ``search_media_by_face``."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in action).lstrip("_")


def call(client: Any, action: str, *, asynchronous: bool = False, **fields: Any) -> dict[str, Any]:
    """Call an action; returns the body as the client shows it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked = request(action, **fields)
        if asynchronous:
            response = asyncio.run(getattr(client, f"{method(action)}_async")(asked))
        else:
            response = getattr(client, method(action))(asked)
    return dict(response.body.to_map())


@contextlib.contextmanager
def listener() -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers ``{}`` and keeps what came: its address, and the list."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # closed
                    return
                with connection:
                    data = b""
                    while b"\r\n\r\n" not in data:
                        part = connection.recv(65536)
                        if not part:
                            break
                        data += part
                    if data:
                        came.append(data)
                        connection.sendall(
                            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
                        )

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}", came
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
