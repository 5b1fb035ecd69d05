"""The vendor's client under load against `facegrep serve`: a script, a minute and the set-up.

    python -m benches.serve --faces 500000 --clients 8 --seconds 60 --workers 1

Each client searches for portraits that a server on loopback has, under a token of its own each
time, so that every picture is fetched, decoded and embedded; as many more change titles, 20 times
a second together. Clients, picture server and `facegrep serve` share the machine. Every answer is
compared with what is known of the library, and every change is looked for at the end. Before
that, one client alone, search by search. Where the time went is asked of the server. Prints
Markdown.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

import facegrep
from benches.served import (
    ACCOUNT,
    KNOWN,
    LIBRARY,
    build,
    client,
    picture_server,
    search,
    serving,
    timed,
)
from benches.stages import OURS, THEIRS, Meter, Spent
from facegrep.keys import AccessKey

WRITES_PER_S: Final = 20


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
    parser.add_argument("--alone", type=int, default=100, help="searches of one client alone")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # of the vendor's client
    with tempfile.TemporaryDirectory(prefix="facegrep-serve-") as folder:
        store = Path(folder) / "store"
        key = build(store, options.faces)
        with (
            picture_server() as pictures,
            serving(store, pictures, options.workers) as (address, pid),
        ):
            call = client(address, key)
            for number in range(5 * options.workers):
                search(call, pictures, f"warm {number}", "macron")
            meter = Meter(address, pid)
            alone_ms = [
                search(call, pictures, f"alone {n}", "macron") for n in range(options.alone)
            ]
            alone = meter.lap()
            small_ms = [timed(call, "QuerySearchLib", search_lib_name=LIBRARY) for _ in range(50)]
            meter = Meter(address, pid)
            outcome = load(address, key, pictures, options.clients, options.seconds)
            loaded = meter.lap()
        require_written(store, outcome)
    report(outcome, options, alone_ms, small_ms, alone, loaded)
    return 1 if outcome.errors else 0


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
            count += clients
            media_id, title = f"{count % 1000:09}", f"title {count}"
            body = json.dumps({"title": title})
            try:
                fields = {"search_lib_name": LIBRARY, "media_id": media_id, "msg_body": body}
                outcome.writes_ms.append(timed(call, "UpdateMediaToSearchLib", **fields))
                outcome.titles[media_id] = title
            except Exception as error:
                outcome.errors.append(repr(error))
            at += clients / WRITES_PER_S
            time.sleep(max(at - time.monotonic(), 0))

    threads = [threading.Thread(target=searches, args=(number,)) for number in range(clients)]
    threads += [threading.Thread(target=writes, args=(number,)) for number in range(clients)]
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


def report(
    outcome: Outcome,
    options: argparse.Namespace,
    alone_ms: list[float],
    small_ms: list[float],
    alone: Spent,
    loaded: Spent,
) -> None:
    lines = [
        f"{options.faces:,} faces, {options.clients} clients, {options.workers} workers, "
        f"{options.seconds:g} s, {WRITES_PER_S} writes a second: {len(outcome.errors)} errors",
        "\n| | calls a second | p50 ms | p99 ms |\n|---|---|---|---|",
    ]
    for name, times in (("searches", outcome.searches_ms), ("writes", outcome.writes_ms)):
        p50, p99 = np.percentile(times, [50, 99])
        lines.append(f"| {name} | {len(times) / options.seconds:.1f} | {p50:.0f} | {p99:.0f} |")
    few = f"{options.clients} clients"
    lines.append(
        f"\n| mean ms of a search | one client: time | processor | {few}: time | processor |\n"
        "|---|---|---|---|---|"
    )
    for name in (*THEIRS, *OURS):
        cells = (
            alone.wall_ms[name],
            alone.cpu_ms[name],
            loaded.wall_ms[name],
            loaded.cpu_ms[name],
        )
        lines.append(f"| {name} | " + " | ".join(f"{ms:.2f}" for ms in cells) + " |")
    unnamed_ms = alone.server_cpu_ms - sum(alone.cpu_ms.values())
    lines += [
        f"| threads of no call: HTTP, the loop, helpers | | {unnamed_ms:.2f} | | |",
        f"| the server | {alone.request_ms:.1f} | {alone.server_cpu_ms:.1f} | "
        f"{loaded.request_ms:.1f} | |",
        f"| as the client has it | {np.mean(alone_ms):.1f} | | "
        f"{np.mean(outcome.searches_ms):.1f} | |",
        f"\nOurs, that is all but fetching, decoding and models: {alone.ours_ms:.1f} ms, "
        f"{alone.ours_ms / alone.request_ms:.1%} of the time; {alone.ours_cpu_ms:.1f} ms, "
        f"{alone.ours_cpu_ms / alone.server_cpu_ms:.1%} of all that the server's processes used.",
        f"QuerySearchLib, client and all: {float(np.median(small_ms)):.1f} ms.",
    ]
    sys.stdout.write("\n".join([*lines, *outcome.errors[:5]]) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
