"""An HTTP request to a call of `facegrep.ice.Service`, and its reply to HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from facegrep._arguments import check_count
from facegrep._errors import FacegrepError, InvalidArgumentError
from facegrep._stages import Spent, StageClock, stage
from facegrep.ice import IceError, Service
from facegrep.ice._errors import printable, translate
from facegrep.keys import Keys
from facegrep.server._gate import Gate, Throttled
from facegrep.server._metrics import CONTENT_TYPE, Metrics
from facegrep.server._rate import RateLimit

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from facegrep.engine import Engine
    from facegrep.keys import AccessKey

MAX_QUERY_BYTES: Final = 1 << 20
"""The longest query string, as it is spelled: a ``data:`` URL of about half a megabyte."""
MAX_BODY_BYTES: Final = 64 << 10
DEADLINE_S: Final = 9.0
"""The vendor's client stops listening after 10 s."""
MAX_WAIT_S: Final = 0.7
"""Within a second of an overload's end its last call is begun, and all but done."""
RETRY_AFTER_MS: Final = 500

_WAITING_PER_THREAD: Final = 4
_SERVICES: Final = 1024

_logger = logging.getLogger("facegrep.server")


def create_app(
    engine: Engine,
    *,
    keys: Keys | None = None,
    fetcher: Callable[[str], bytes] | None = None,
    threads: int | None = None,
    deadline_s: float = DEADLINE_S,
    max_wait_s: float = MAX_WAIT_S,
    rate_limit_per_s: float | None = None,
    operations: bool = True,
) -> Starlette:
    """Make the ASGI app that the vendor's client can call.

    Parameters
    ----------
    engine
        From `facegrep.open`, for writing. Yours to close, once the app is no longer called.
    keys
        Who may call; by default the keys of the store that need no master key.
    fetcher
        Gets what is behind an ``http(s):`` or ``oss:`` URL, see `facegrep.ice.Service`; by default
        the engine's, which alone can get videos after the reply: give a
        `facegrep.fetch.PictureFetcher` to `facegrep.open`. Without, all comes by ``data:`` URLs.
    threads
        How many calls are carried out at once; by default as many as there are cores, and four.
        Four times as many wait for them; more are refused at once, as Throttling.Api.
    deadline_s
        After so many seconds a caller is told that the call was not finished.
    max_wait_s
        A call that has waited longer than this for a thread is not begun but refused, too, as
        Throttling.Api: so calls that are carried out do not wait longer, and who comes this long
        after an overload does not wait for what is left of it.
    rate_limit_per_s
        How often a key may call this app; more is refused as Throttling.User.
    operations
        Whether ``/healthz``, ``/readyz`` and ``/metrics`` are served here, to anybody.

    Raises
    ------
    InvalidArgumentError
        The engine is readonly: a server remembers nonces. Or a number is not positive.
    MasterKeyError
        Not every key of the store opens.

    Notes
    -----
    Any number of apps, in any number of processes, may serve one store: it takes care of turns.
    """
    if engine.readonly:
        raise InvalidArgumentError(
            "engine: a server remembers nonces, so it needs one opened without readonly=True"
        )
    count = (os.cpu_count() or 1) + 4 if threads is None else check_count(threads, "threads", 1)
    used = Keys(engine) if keys is None else keys
    used.check_master_key()
    rate_limit = None if rate_limit_per_s is None else RateLimit(rate_limit_per_s)
    gate = Gate(used, lambda: time.time_ns() // 1_000_000, rate_limit)
    endpoint = _Endpoint(engine, gate, fetcher, count, deadline_s, max_wait_s)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        endpoint.close()

    routes: list[BaseRoute] = operation_routes(engine, used, endpoint.metrics) if operations else []
    app = Starlette(routes=[*routes, Mount("/", app=endpoint)], lifespan=lifespan)
    app.router.default = endpoint  # of targets that are no path, such as "*", too
    return app


def operation_routes(engine: Engine, keys: Keys, metrics: Metrics) -> list[BaseRoute]:
    """Make what tells those who run a server how it is."""

    def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    def readyz(_request: Request) -> Response:
        try:
            keys.check_master_key()  # reads session.db; fails once keys were sealed with another
            _ = engine.search_audit  # catalog.db
        except FacegrepError:
            _logger.warning("not ready", exc_info=True)
            return PlainTextResponse("the store cannot serve calls now\n", 503)
        return PlainTextResponse("ready\n")

    def show_metrics(_request: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", show_metrics),
    ]


class _Endpoint:
    """The signed path, as an ASGI app."""

    def __init__(
        self,
        engine: Engine,
        gate: Gate,
        fetcher: Callable[[str], bytes] | None,
        threads: int,
        deadline_s: float,
        max_wait_s: float,
    ) -> None:
        self.metrics = Metrics()
        self._engine = engine
        self._gate = gate
        self._fetcher = fetcher
        self._deadline_s = deadline_s
        self._max_wait_s = max_wait_s
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="facegrep-call")
        self._room = threads * (1 + _WAITING_PER_THREAD)
        self._services: dict[str, Service] = {}
        self._mutex = threading.Lock()

    def close(self) -> None:
        """End, after the calls that are under way."""
        self._pool.shutdown(wait=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # a websocket: closed before it opens
            await send({"type": "websocket.close", "code": 1000})
            return
        started_s = time.perf_counter()
        headers = scope["headers"]
        action = dict(headers).get(b"x-acs-action", b"").decode("latin-1")
        try:
            with self.metrics.running():
                reply = await self._reply(scope, receive, action)
            answered = StageClock("reply")
            with answered.running():
                code, response = "200", JSONResponse(reply)
            self.metrics.spent(action, answered.spent)
            request_id = reply["RequestId"]
        except IceError as error:
            code, request_id = error.code, error.request_id
            self._log(error, action)
            host = dict(headers).get(b"host", b"").decode("latin-1")
            response = JSONResponse(error.to_reply(host_id=printable(host)), error.http_status)
            if isinstance(error, Throttled):
                response.headers["x-acs-retry-after"] = str(error.retry_after_ms)
        response.headers["x-acs-request-id"] = request_id
        self.metrics.answered(action, code, started_s)
        await response(scope, receive, send)

    async def _reply(self, scope: Scope, receive: Receive, action: str) -> dict[str, Any]:
        path = scope["path"]
        if path != "/":
            text = "Specified api is not found, please check your url and method."
            raise IceError(404, "InvalidApi.NotFound", text)
        if scope["method"] != "POST":
            text = f"The HTTP method {printable(scope['method'])} is not supported."
            raise IceError(405, "UnsupportedHTTPMethod", text)
        query = scope["query_string"]
        if len(query) > MAX_QUERY_BYTES:
            raise _too_large(f"the query string has more than {MAX_QUERY_BYTES >> 20} MiB")
        body = await _read_body(receive)
        if self._room <= 0:
            raise _busy()
        self._room -= 1
        call = asyncio.get_running_loop().run_in_executor(
            self._pool, self._carry_out, scope, body, action, time.perf_counter()
        )
        call.add_done_callback(self._make_room)
        done, _ = await asyncio.wait({call}, timeout=self._deadline_s)
        if not done:
            text = "The call was not finished in time; whether it will be is unknown."
            raise IceError(503, "ServiceUnAvailable", text)
        return call.result()

    def _make_room(self, call: asyncio.Future[dict[str, Any]]) -> None:
        self._room += 1
        if not call.cancelled():
            call.exception()  # looked at, or it would be logged when nobody waited for it

    def _carry_out(
        self, scope: Scope, body: bytes, action: str, handed_over_s: float
    ) -> dict[str, Any]:
        clock = StageClock()
        waited = Spent(time.perf_counter() - handed_over_s, 0.0)
        try:
            if waited.wall_s > self._max_wait_s:
                raise _busy()
            with clock.running():
                with stage("gate"):
                    key, request = self._gate.admit(
                        scope["method"],
                        scope["path"],
                        scope["query_string"],
                        scope["headers"],
                        body,
                    )
                return self._service(key).call(request.action, request.parameters)
        except IceError:
            raise
        except Exception as error:
            raise translate(error, "") from error
        finally:
            self.metrics.spent(action, {"wait": waited, **clock.spent})

    def _service(self, key: AccessKey) -> Service:
        """Return what answers a key: it sees its account alone, and acts in its name."""
        with self._mutex:
            service = self._services.get(key.id)
        if service is None:
            view = self._engine.for_account(key.account, actor=key.id)
            service = Service(view, account=key.account, fetcher=self._fetcher)
            with self._mutex:
                if len(self._services) >= _SERVICES:
                    self._services.clear()
                self._services[key.id] = service
        return service

    def _log(self, error: IceError, action: str) -> None:
        """Note what is ours to mend; the caller is told the RequestId alone."""
        if error.http_status >= 500:
            _logger.error(
                "request %s (%s): %s",
                error.request_id,
                printable(action),
                error,
                exc_info=error.__cause__,
            )


async def _read_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise IceError(400, "InvalidParameter", "The request was cut off.")
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise _too_large(f"the body has more than {MAX_BODY_BYTES >> 10} KiB")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _busy() -> Throttled:
    return Throttled("Throttling.Api", "The service is busy.", RETRY_AFTER_MS)


def _too_large(reason: str) -> IceError:
    return IceError(413, "RequestTooLarge", f"The request is too large: {reason}.")
