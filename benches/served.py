"""A library of strangers and two people that `facegrep serve` serves, and the vendor's client."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

import facegrep
from facegrep.keys import AccessKey, Keys

PORTRAITS: Final = Path(__file__).parents[1] / "tests" / "data" / "portraits"
KNOWN: Final = {
    "macron": ("Emmanuel_Macron/person_a_1.jpg", "Emmanuel_Macron/person_a_2.jpg"),
    "ardern": ("Jacinda_Ardern/person_b_1.jpg", "Jacinda_Ardern/person_b_2.jpg"),
}
LIBRARY: Final = "crowd"
ACCOUNT: Final = "studio"
THRESHOLD: Final = 0.5
"""Random vectors never reach it; both people's other photos do."""
_PART: Final = 50_000


def build(store: Path, faces: int) -> AccessKey:
    """A library of random faces, two real people among them."""
    chance = np.random.default_rng(6)
    with facegrep.open(store) as root:
        engine = root.for_account(ACCOUNT)
        engine.create_library(LIBRARY, threshold=THRESHOLD)
        for start in range(0, faces, _PART):
            count = min(_PART, faces - start)
            vectors = chance.normal(size=(count, 128)).astype(np.float32)
            ids = [f"{number:09}" for number in range(start, start + count)]
            engine.add_vectors(LIBRARY, ids, vectors)
        for media_id, (photo, _) in KNOWN.items():
            engine.add(LIBRARY, media_id=media_id, source=PORTRAITS / photo)
        return Keys(root).create(ACCOUNT, sealed=False)


@contextlib.contextmanager
def picture_server() -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    handler = functools.partial(Quiet, directory=str(PORTRAITS))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def serving(store: Path, pictures: str, workers: int) -> Iterator[tuple[str, int]]:
    """Run the command: its address, and the process's id."""
    command = [sys.executable, "-m", "facegrep", "serve", "--store", str(store), "--port", "0"]
    fetching = ["--allow-http", "--allow-fetch", pictures, "--workers", str(workers)]
    with subprocess.Popen([*command, *fetching], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().decode().rpartition("//")[2].strip(), server.pid
        finally:
            server.send_signal(signal.SIGTERM)
        if server.wait(60):
            raise SystemExit("the server did not end well")


def client(address: str, key: AccessKey) -> Callable[..., Any]:
    """What calls an action by its name in Python's spelling; of one thread."""
    from alibabacloud_ice20201109 import models
    from alibabacloud_ice20201109.client import Client
    from alibabacloud_tea_openapi.models import Config

    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        os.environ.pop(name, None)
    made = Client(
        Config(
            access_key_id=key.id, access_key_secret=key.secret, endpoint=address, protocol="http"
        )
    )

    def call(action: str, **fields: Any) -> Any:
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in action).lstrip("_")
        return getattr(made, name)(getattr(models, f"{action}Request")(**fields)).body

    return call


def timed(call: Callable[..., Any], action: str, **fields: Any) -> float:
    began = time.perf_counter()
    call(action, **fields)
    return (time.perf_counter() - began) * 1000


def search(call: Callable[..., Any], pictures: str, token: str, person: str) -> float:
    """Search for a person by the photo that the library does not have; returns ms."""
    began = time.perf_counter()
    body = call("SearchMediaByFace", **question(pictures, token, person))
    took_ms = (time.perf_counter() - began) * 1000
    found = [one.media_id for one in body.media_info_list]
    if (found, body.total) != ([person], 1):
        raise SystemExit(f"searched for {person}, got {found} of {body.total}")
    return took_ms


def question(pictures: str, token: str, person: str) -> dict[str, str]:
    return {
        "search_lib_name": LIBRARY,
        "person_image_url": f"http://{pictures}/{KNOWN[person][1]}",
        "face_search_token": token,
    }
