"""``facegrep serve``: sockets, worker processes, a line when they are ready, a graceful end.

Each worker opens the store for itself. Reads run side by side; writes take turns by the store's own
locks, among processes as among threads. Who accepts a connection is the kernel's choice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn

from facegrep._errors import (
    DeviceUnavailableError,
    FacegrepError,
    InvalidArgumentError,
    ModelError,
)
from facegrep.engine import open as open_engine
from facegrep.fetch import PictureFetcher
from facegrep.keys import Keys, master_key_from_environment
from facegrep.server._connection import TimedConnection

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from starlette.types import ASGIApp, Receive, Scope, Send

    from facegrep.vision import Device, Precision

GRACE_S: Final = 15
"""How long calls that are under way may still take once the server is told to stop."""

_MAX_HEAD_BYTES: Final = 2 << 20  # above what the app refuses with words of its own
_KEEP_ALIVE_S: Final = 15
_RESTART_PAUSE_S: Final = 1.0

_logger = logging.getLogger("facegrep.server")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker is made from; plain data.

    Attributes
    ----------
    operations_port
        Where ``/healthz``, ``/readyz`` and ``/metrics`` are, if not beside the signed path.
    allow_http, fetch_hosts, fetch_exceptions, oss_root
        As `PictureFetcher` has them.
    rate_limit_per_s
        How often a key may call one worker.
    """

    store: Path
    actor: str
    device: Device = "auto"
    precision: Precision = "fp32"
    operations_port: int | None = None
    allow_http: bool = False
    fetch_hosts: tuple[str, ...] = ()
    fetch_exceptions: tuple[str, ...] = ()
    oss_root: str | None = None
    rate_limit_per_s: float | None = None

    def fetcher(self) -> PictureFetcher:
        """Make what gets pictures and videos from the network.

        Raises
        ------
        InvalidArgumentError
            One of the settings is not of its form.
        """
        return PictureFetcher(
            allow_http=self.allow_http,
            hosts=self.fetch_hosts,
            exceptions=self.fetch_exceptions,
            oss=self.oss_root,
        )


def serve(
    settings: Settings,
    host: str,
    port: int,
    workers: int,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT; then end what is under way, and return.

    Parameters
    ----------
    port
        0 for any that is free.
    on_ready
        Called once, with the address, when every worker accepts calls.

    Raises
    ------
    FacegrepError
        The store cannot be opened, or not every key of it.
    InvalidArgumentError
        The address cannot be had.
    """
    # Here first: what is wrong is said once, and no worker has to.
    settings.fetcher()
    with open_engine(settings.store, actor=settings.actor) as engine:
        Keys(engine, master_key_from_environment()).check_master_key()
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(_listen(host, port))]
        if settings.operations_port is not None:
            sockets.append(stack.enter_context(_listen(host, settings.operations_port)))
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{sockets[0].getsockname()[1]}"
        if workers == 1:
            _work(settings, sockets, lambda: on_ready(address))
            return
        stack.enter_context(_shared_metrics())
        _supervise(settings, sockets, workers, lambda: on_ready(address))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small packets at once (TCP_NODELAY) only on sockets that were made with this
    # protocol's number; a reply's head and body, sent in two, would otherwise wait 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(1024)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise InvalidArgumentError(f"cannot listen on {host} port {port}: {reason}") from error
    return listening


@contextlib.contextmanager
def _shared_metrics() -> Iterator[None]:
    """Have the workers, which are started inside, count together."""
    with tempfile.TemporaryDirectory(prefix="facegrep-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


class _Server(uvicorn.Server):
    """Says when it accepts calls."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_ready()


def _work(settings: Settings, sockets: list[socket.socket], on_ready: Callable[[], None]) -> None:
    """Serve in this process, until it is told to stop."""
    from facegrep.server._app import create_app

    with open_engine(
        settings.store,
        device=settings.device,
        precision=settings.precision,
        actor=settings.actor,
        fetcher=settings.fetcher(),
    ) as engine:
        try:
            engine.load_models()
        except DeviceUnavailableError:  # asked for by name
            raise
        except ModelError as error:  # vectors can be searched without, and other libraries
            _logger.warning("pictures for some libraries will be refused: %s", error)
        keys = Keys(engine, master_key_from_environment())
        app: ASGIApp = create_app(
            engine,
            keys=keys,
            rate_limit_per_s=settings.rate_limit_per_s,
        )
        if settings.operations_port is not None:
            app = _by_port(app, sockets[1].getsockname()[1])
        config = uvicorn.Config(
            app,
            http=TimedConnection,
            ws="none",
            h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            server_header=False,
            proxy_headers=False,
            log_config=None,
            access_log=False,
        )
        # Of what strangers send that is no HTTP it warns, line by line.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        # uvicorn raises again, at its end, the signal that ended it: ours is then to go on.
        with _signals(lambda *_: None):
            asyncio.run(_Server(config, on_ready).serve(sockets))


def _by_port(app: ASGIApp, operations_port: int) -> ASGIApp:
    """Keep apart by the port that a request came to what strangers and what operators may ask."""
    paths = {"/healthz", "/readyz", "/metrics"}

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            is_operators = scope["server"][1] == operations_port
            if is_operators != (scope["path"] in paths):
                scope = {**scope, "path": "/not-here"}
        await app(scope, receive, send)

    return route


@contextlib.contextmanager
def _signals(handler: Callable[..., None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _supervise(
    settings: Settings, sockets: list[socket.socket], count: int, on_ready: Callable[[], None]
) -> None:
    """Start workers, and again those that die; end them all when told to stop."""
    stopping = threading.Event()
    with _signals(lambda *_: stopping.set()):
        workers = [_Worker(settings, sockets) for _ in range(count)]
        try:
            while not all(worker.ready() for worker in workers) and not stopping.is_set():
                if not all(worker.process.is_alive() for worker in workers):
                    raise FacegrepError("a worker ended before it was ready; its log says why")
                time.sleep(0.02)
            if not stopping.is_set():
                on_ready()
            while not stopping.is_set():
                wait([worker.process.sentinel for worker in workers], timeout=0.2)
                for place, worker in enumerate(workers):
                    if not stopping.is_set() and not worker.process.is_alive():
                        _logger.error(
                            "worker %s ended with %s; starting another",
                            worker.process.pid,
                            worker.process.exitcode,
                        )
                        time.sleep(_RESTART_PAUSE_S)
                        workers[place] = _Worker(settings, sockets)
        finally:
            for worker in workers:
                worker.process.terminate()
            deadline = time.monotonic() + GRACE_S + 5
            for worker in workers:
                worker.process.join(max(deadline - time.monotonic(), 0))
                if worker.process.is_alive():
                    worker.process.kill()
                    worker.process.join()


class _Worker:
    """A process that serves."""

    def __init__(self, settings: Settings, sockets: list[socket.socket]) -> None:
        context = multiprocessing.get_context("spawn")  # no connection of SQLite's crosses a fork
        self._told, telling = context.Pipe(duplex=False)
        self.process: SpawnProcess = context.Process(
            target=_be_worker, args=(settings, sockets, telling), daemon=True
        )
        self.process.start()
        telling.close()
        self._ready = False

    def ready(self) -> bool:
        """Whether it has said that it accepts calls."""
        if not self._ready:
            with contextlib.suppress(EOFError, OSError):
                self._ready = self._told.poll() and bool(self._told.recv())
        return self._ready


def _be_worker(settings: Settings, sockets: list[socket.socket], telling: Connection) -> None:
    logging.basicConfig(level=logging.WARNING)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def ready() -> None:
        telling.send(True)
        telling.close()

    _work(settings, sockets, ready)


def _end_with_parent() -> None:
    """Stop gracefully when the parent was killed and cannot say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
