"""The vendor's client under load against `facegrep serve`: a script, a minute and the set-up.

    python -m benches.serve --faces 500000 --clients 8 --seconds 60 --workers 1

Each client searches for portraits that a server on loopback has, under a token of its own each
time, so that every picture is fetched, decoded and embedded; four more change titles, 20 times
a second together. Clients, picture server and `facegrep serve` share the machine. Every answer is
compared with what is known of the library, and every change is looked for at the end. Then one
client alone, call by call, and the parts of a call by themselves. Prints Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

import facegrep
from facegrep.fetch import PictureFetcher
from facegrep.keys import AccessKey, Keys
from facegrep.media import read_picture
from facegrep.vision import FaceAnalyzer

PORTRAITS: Final = Path(__file__).parents[1] / "tests" / "data" / "portraits"
KNOWN: Final = {
    "macron": ("Emmanuel_Macron/person_a_1.jpg", "Emmanuel_Macron/person_a_2.jpg"),
    "ardern": ("Jacinda_Ardern/person_b_1.jpg", "Jacinda_Ardern/person_b_2.jpg"),
}
LIBRARY: Final = "crowd"
ACCOUNT: Final = "studio"
THRESHOLD: Final = 0.5
"""Random vectors never reach it; both people's other photos do."""
WRITES_PER_S: Final = 20
_WRITERS: Final = 4
_PART: Final = 50_000


@dataclass
class Outcome:
    """What the clients saw. Lists grow from many threads."""

    searches_ms: list[float] = field(default_factory=list)
    writes_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        os.environ.pop(name, None)
    warnings.simplefilter("ignore")  # of the vendor's client
    with tempfile.TemporaryDirectory(prefix="facegrep-serve-") as folder:
        store = Path(folder) / "store"
        key = build(store, options.faces)
        with picture_server() as pictures, serving(store, pictures, options.workers) as address:
            call = client(address, key)
            search(call, pictures, "warm", "macron")
            outcome = load(address, key, pictures, options.clients, options.seconds)
            alone_ms = [search(call, pictures, f"alone {n}", "macron") for n in range(30)]
            small_ms = [timed(call, "QuerySearchLib", search_lib_name=LIBRARY) for _ in range(50)]
        require_written(store, outcome)
        parts = parts_of_a_call(store)
    report(outcome, options, alone_ms, small_ms, parts)
    return 1 if outcome.errors else 0


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
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def serving(store: Path, pictures: str, workers: int) -> Iterator[str]:
    command = [sys.executable, "-m", "facegrep", "serve", "--store", str(store), "--port", "0"]
    fetching = ["--allow-http", "--allow-fetch", pictures, "--workers", str(workers)]
    with subprocess.Popen([*command, *fetching], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().decode().rpartition("//")[2].strip()
        finally:
            server.send_signal(signal.SIGTERM)
        if server.wait(60):
            raise SystemExit("the server did not end well")


def client(address: str, key: AccessKey) -> Callable[..., Any]:
    """What calls an action by its name in Python's spelling; of one thread."""
    from alibabacloud_ice20201109 import models
    from alibabacloud_ice20201109.client import Client
    from alibabacloud_tea_openapi.models import Config

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
    body = call(
        "SearchMediaByFace",
        search_lib_name=LIBRARY,
        person_image_url=f"http://{pictures}/{KNOWN[person][1]}",
        face_search_token=token,
    )
    took_ms = (time.perf_counter() - began) * 1000
    found = [one.media_id for one in body.media_info_list]
    if (found, body.total) != ([person], 1):
        raise SystemExit(f"searched for {person}, got {found} of {body.total}")
    return took_ms


def load(address: str, key: AccessKey, pictures: str, clients: int, seconds: float) -> Outcome:
    outcome = Outcome()
    end = time.monotonic() + seconds
    people = sorted(KNOWN)

    def searches(number: int) -> None:
        call = client(address, key)
        count = 0
        while time.monotonic() < end:
            count += 1
            try:
                person = people[(count + number) % len(people)]
                outcome.searches_ms.append(search(call, pictures, f"{number} {count}", person))
            except (Exception, SystemExit) as error:
                outcome.errors.append(repr(error))

    def writes(number: int) -> None:
        call = client(address, key)
        at = time.monotonic()
        count = number
        while time.monotonic() < end:
            count += _WRITERS
            media_id, title = f"{count % 1000:09}", f"title {count}"
            body = json.dumps({"title": title})
            try:
                fields = {"search_lib_name": LIBRARY, "media_id": media_id, "msg_body": body}
                outcome.writes_ms.append(timed(call, "UpdateMediaToSearchLib", **fields))
                outcome.titles[media_id] = title
            except Exception as error:
                outcome.errors.append(repr(error))
            at += _WRITERS / WRITES_PER_S
            time.sleep(max(at - time.monotonic(), 0))

    threads = [threading.Thread(target=searches, args=(number,)) for number in range(clients)]
    threads += [threading.Thread(target=writes, args=(number,)) for number in range(_WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcome


def require_written(store: Path, outcome: Outcome) -> None:
    with facegrep.open(store, readonly=True) as engine:
        view = engine.for_account(ACCOUNT)
        for media_id, title in outcome.titles.items():
            if view.get(LIBRARY, media_id).title != title:
                raise SystemExit(f"the title of {media_id} was acknowledged and is not there")


def parts_of_a_call(store: Path) -> dict[str, float]:
    """Median ms of each part of a search, one after another, in one thread."""
    with picture_server() as pictures, facegrep.open(store, readonly=True) as root:
        engine = root.for_account(ACCOUNT)
        fetcher = PictureFetcher(allow_http=True, exceptions=[pictures])
        url = f"http://{pictures}/{KNOWN['macron'][1]}"
        analyzer = FaceAnalyzer(device="cpu")
        data = fetcher(url)
        pixels = read_picture(data).pixels
        (found,) = analyzer.detect([pixels])
        embedding = analyzer.analyze([pixels])[0].faces[0].embedding
        return {
            "fetch": median_ms(lambda: fetcher(url)),
            "decode": median_ms(lambda: read_picture(data)),
            "detect": median_ms(lambda: analyzer.detect([pixels])),
            "align and embed": median_ms(lambda: analyzer.embed(analyzer.align(pixels, found))),
            "scan": median_ms(lambda: engine.search(LIBRARY, vector=embedding)),
        }


def median_ms(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(20):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return float(np.median(times))


def report(
    outcome: Outcome,
    options: argparse.Namespace,
    alone_ms: list[float],
    small_ms: list[float],
    parts: dict[str, float],
) -> None:
    lines = [
        f"{options.faces:,} faces, {options.clients} clients, {options.workers} workers, "
        f"{options.seconds:g} s, {WRITES_PER_S} writes a second: {len(outcome.errors)} errors",
        "\n| | calls a second | p50 ms | p99 ms |\n|---|---|---|---|",
    ]
    for name, times in (("searches", outcome.searches_ms), ("writes", outcome.writes_ms)):
        p50, p99 = np.percentile(times, [50, 99])
        lines.append(f"| {name} | {len(times) / options.seconds:.1f} | {p50:.0f} | {p99:.0f} |")
    alone = float(np.median(alone_ms))
    models = parts["decode"] + parts["detect"] + parts["align and embed"]
    lines.append(f"\n| one client alone, median | ms |\n|---|---|\n| a search | {alone:.1f} |")
    lines += [f"| its part: {name} | {ms:.2f} |" for name, ms in parts.items()]
    lines.append(f"| QuerySearchLib, client and all | {float(np.median(small_ms)):.1f} |")
    lines.append(f"| a search but for decoding and models | {alone - models:.1f} |")
    sys.stdout.write("\n".join([*lines, *outcome.errors[:5]]) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
