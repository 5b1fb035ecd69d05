"""Who connects and does not get on, and who only takes long."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import uvicorn

from facegrep.server._connection import TimedConnection

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"


class Impatient(TimedConnection):
    stalled_s = 0.3


async def slow_app(scope: Any, receive: Any, send: Any) -> None:
    """Answers a second after the whole request came."""
    if scope["type"] != "http":
        return
    while (message := await receive()).get("more_body"):
        pass
    if message["type"] == "http.disconnect":
        return
    await asyncio.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[int]:
    config = uvicorn.Config(slow_app, port=0, http=Impatient, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def heard(port: int, *parts: bytes) -> tuple[bytes, float]:
    """What comes back for what is sent bit by bit, and after how many seconds the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began_s = time.monotonic()
    said = asyncio.ensure_future(reader.read())
    for part in parts:
        if not said.done():
            writer.write(part)
            await asyncio.wait({said}, timeout=0.1)
    await asyncio.wait({said}, timeout=10)
    took_s = time.monotonic() - began_s
    writer.close()
    if said.cancel():
        return b"still open", took_s
    return b"" if said.exception() else said.result(), took_s


def test_who_does_not_get_on_is_cut_off() -> None:
    async def tries() -> Sequence[tuple[bytes, float]]:
        dripping = [REQUEST[at : at + 1] for at in range(len(REQUEST))]  # 5 s in all
        slow_body = [REQUEST[:-4], b"b", b"o", b"d"]
        async with listening() as port:
            return await asyncio.gather(
                heard(port),
                heard(port, REQUEST[:10]),
                heard(port, *dripping),
                heard(port, *slow_body),
            )

    for said, seconds in asyncio.run(tries()):
        assert said == b""
        assert seconds < 4


def test_who_is_answered_late_and_who_sends_one_request_after_the_other_is_not() -> None:
    async def tries() -> Sequence[tuple[bytes, float]]:
        async with listening() as port:
            return await asyncio.gather(heard(port, REQUEST), heard(port, REQUEST + REQUEST))

    once, twice = (said.count(b"200 OK") for said, _ in asyncio.run(tries()))
    assert (once, twice) == (1, 2)
