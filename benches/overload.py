"""Ten times more searches than `facegrep serve` can answer, and when they stop: a script.

    python -m benches.overload --faces 20000 --seconds 10

Eight clients, each calling as soon as it has its answer, say what the server's capacity is. Then
calls are sent at ten times that rate, answered or not. Every answer must be right, every refusal
one that tells the client what to do, and no connection may be lost; calls that are accepted may
take no longer than the wait that is allowed and the work of a full server. A second after the last
of them the server must answer as it did before. All on loopback, on one machine. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.serving import sign

from benches.served import KNOWN, LIBRARY, build, picture_server, serving
from facegrep.keys import AccessKey
from facegrep.server._app import MAX_WAIT_S

CLIENTS: Final = 8
OVERLOAD: Final = 10
REFUSALS: Final = {"Throttling.Api", "Throttling.User", "ServiceUnAvailable"}
RECOVERY_S: Final = 1.0
_PERSON: Final = "macron"
_WARM: Final = 5
_ALONE: Final = 20


@dataclass(frozen=True)
class Answer:
    """What came of a call; ``code`` is "200", or that of the refusal."""

    began_s: float
    took_s: float
    code: str


@dataclass(frozen=True)
class Outcome:
    """What was answered to one client, to eight, under overload, and after its last call."""

    alone: list[Answer]
    full: list[Answer]
    offered: list[Answer]
    after: list[Answer]
    offered_per_s: float
    ended_s: float

    @property
    def bound_ms(self) -> float:
        """What an accepted call may take.

        Its wait for a thread, and thrice what takes beside eight clients: to refuse the others is
        work as well, and so is to send them from the same machine.
        """
        return float(1000 * MAX_WAIT_S + 3 * np.percentile(times_ms(accepted(self.full)), 99))

    @property
    def recovery_s(self) -> float:
        """From when on every call was answered, as fast as one alone, give or take half."""
        normal_s = 1.5 * max(answer.took_s for answer in self.alone)
        slow = [one for one in self.after if one.code != "200" or one.took_s > normal_s]
        return max((one.began_s + one.took_s for one in slow), default=self.ended_s) - self.ended_s


class Caller:
    """Signs and sends searches, a connection each, and checks what comes back."""

    def __init__(self, address: str, key: AccessKey, pictures: str) -> None:
        self._host, _, self._port = address.partition(":")
        self._key = key
        self._url = f"http://{pictures}/{KNOWN[_PERSON][1]}"
        self._count = 0

    async def search(self) -> Answer:
        self._count += 1
        parameters = {
            "SearchLibName": LIBRARY,
            "PersonImageUrl": self._url,
            "FaceSearchToken": f"{self._count}",
        }
        signed = sign(self._key, "SearchMediaByFace", parameters)
        lines = [f"{name}: {value}" for name, value in signed.headers.items()]
        head = "\r\n".join([f"POST {signed.target} HTTP/1.1", *lines, "connection: close"])
        began_s = time.perf_counter()
        reader, writer = await asyncio.open_connection(self._host, int(self._port))
        try:
            writer.write(f"{head}\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()
            said = await reader.read()
        finally:
            writer.close()
        took_s = time.perf_counter() - began_s
        return Answer(began_s, took_s, checked(said))


def checked(said: bytes) -> str:
    """The code of a reply that is as it must be."""
    head, _, body = said.partition(b"\r\n\r\n")
    lines = head.decode().lower().splitlines()
    headers = dict(line.split(": ", 1) for line in lines[1:])
    reply: dict[str, Any] = json.loads(body)
    if not reply["RequestId"] or headers["x-acs-request-id"] != reply["RequestId"].lower():
        raise SystemExit(f"a reply without its RequestId: {head!r}")
    if " 200 " in lines[0]:
        if (reply["MediaInfoList"], reply["Total"]) != ([{"MediaId": _PERSON}], 1):
            raise SystemExit(f"a wrong answer: {reply}")
        return "200"
    code: str = reply["Code"]
    if code not in REFUSALS:
        raise SystemExit(f"refused as {code}: {reply}")
    if code.startswith("Throttling") and int(headers["x-acs-retry-after"]) <= 0:
        raise SystemExit("throttled without a time to come back")
    return code


async def closed_loop(call: Callable[[], Awaitable[Answer]], seconds: float) -> list[Answer]:
    """What clients see that call again as soon as they have an answer."""
    end_s = time.perf_counter() + seconds

    async def client() -> list[Answer]:
        answers = []
        while time.perf_counter() < end_s:
            answers.append(await call())
        return answers

    answered = await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return [one for some in answered for one in some]


async def offer(
    call: Callable[[], Awaitable[Answer]], per_s: float, seconds: float
) -> list[asyncio.Task[Answer]]:
    """Send calls at a rate, whatever becomes of them; returns when the last was sent."""
    start_s = time.perf_counter()
    sent = []
    for number in range(round(per_s * seconds)):
        await asyncio.sleep(max(start_s + number / per_s - time.perf_counter(), 0))
        sent.append(asyncio.ensure_future(call()))
    return sent


async def measure(caller: Caller, seconds: float) -> Outcome:
    for _ in range(_WARM):
        await caller.search()
    alone = [await caller.search() for _ in range(_ALONE)]
    full = await closed_loop(caller.search, seconds)
    per_s = len(accepted(full)) / seconds
    began_s = time.perf_counter()
    sent = await offer(caller.search, OVERLOAD * per_s, seconds)
    ended_s = time.perf_counter()
    after = []
    while time.perf_counter() < ended_s + RECOVERY_S + 1:
        after.append(await caller.search())
    offered = list(await asyncio.gather(*sent))
    return Outcome(alone, full, offered, after, len(sent) / (ended_s - began_s), ended_s)


def check(outcome: Outcome) -> None:
    late = [answer for answer in outcome.after if answer.began_s > outcome.ended_s + RECOVERY_S]
    require(all(answer.code == "200" for answer in late), "refused long after the overload")
    require(np.median(times_ms(late)) < 2 * max(times_ms(outcome.alone)), "slow long after it")
    p99_ms = np.percentile(times_ms(accepted(outcome.offered)), 99)
    bound_ms = outcome.bound_ms
    require(p99_ms < bound_ms, f"p99 of accepted calls {p99_ms:.0f} ms, not {bound_ms:.0f}")


def report(outcome: Outcome, faces: int, seconds: float) -> None:
    codes = Counter(answer.code for answer in outcome.offered)
    lines = [
        f"{faces:,} faces, {seconds:g} s each: {CLIENTS} clients get "
        f"{len(accepted(outcome.full)) / seconds:.1f} searches a second, then "
        f"{outcome.offered_per_s:.0f} a second are sent",
        "\n| | calls | p50 ms | p99 ms |\n|---|---|---|---|",
    ]
    refused = [one for one in outcome.offered if one.code != "200"]
    for name, answers in (
        ("one client alone", outcome.alone),
        (f"{CLIENTS} clients", accepted(outcome.full)),
        ("overload, accepted", accepted(outcome.offered)),
        ("overload, refused", refused),
    ):
        p50, p99 = np.percentile(times_ms(answers) or [np.nan], [50, 99])
        lines.append(f"| {name} | {len(answers)} | {p50:.0f} | {p99:.0f} |")
    lines += [
        f"\nAnswers: {dict(codes)}; {codes['200'] / seconds:.1f} searches a second answered, "
        f"p99 bound {outcome.bound_ms:.0f} ms.",
        f"As before the overload {outcome.recovery_s:.2f} s after its last call.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def accepted(answers: Iterable[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.code == "200"]


def times_ms(answers: Iterable[Answer]) -> list[float]:
    return [1000 * answer.took_s for answer in answers]


def require(holds: bool | np.bool, else_: str) -> None:
    if not holds:
        raise SystemExit(else_)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=10, help="of 8 clients, and of overload")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="facegrep-overload-") as folder:
        store = Path(folder) / "store"
        key = build(store, options.faces)
        with (
            picture_server() as pictures,
            serving(store, pictures, options.workers) as (address, _),
        ):
            outcome = asyncio.run(measure(Caller(address, key, pictures), options.seconds))
    report(outcome, options.faces, options.seconds)
    check(outcome)


if __name__ == "__main__":
    main(sys.argv[1:])
