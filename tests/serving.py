"""A server as the command starts it, and requests signed by hand."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import facegrep
from facegrep.keys import AccessKey, Keys, Policy

START_S = 60


@contextlib.contextmanager
def serving(
    store: Path, *words: str, workers: int = 1, log_says: str = "", **variables: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run ``facegrep serve``: its address, and its process, which must end well.

    `log_says` is a pattern of all that it writes to stderr; `variables` are all of ours that its
    environment has.
    """
    options = ["--store", str(store), "--port", "0", "--workers", str(workers), *words]
    with (
        (store.parent / "serve.log").open("w+b") as log,
        subprocess.Popen(
            [sys.executable, "-m", "facegrep", "serve", *options],
            stdout=subprocess.PIPE,
            stderr=log,
            env={name: value for name, value in os.environ.items() if "FACEGREP" not in name}
            | variables,
        ) as server,
    ):
        assert server.stdout is not None
        try:
            line = server.stdout.readline().decode()
            said = (store.parent / "serve.log").read_text()
            assert line.startswith("facegrep is ready: http://"), said
            yield line.rpartition("//")[2].strip(), server
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(START_S)
            rest = server.stdout.read()
    said = (store.parent / "serve.log").read_text()
    assert (code, rest) == (0, b""), said
    assert re.fullmatch(log_says, said, re.DOTALL), said


def make_key(store: Path, account: str, policy: Policy | None = None) -> AccessKey:
    """A key whose secret is not sealed; makes the store."""
    with facegrep.open(store) as engine:
        return Keys(engine).create(account, policy, sealed=False)


@dataclass
class Signed:
    """A request, signed; what is changed after that is not."""

    target: str
    headers: dict[str, str]
    body: bytes = b""
    method: str = "POST"

    def send(self, address: str) -> tuple[int, dict[str, Any]]:
        """Status and body of the reply."""
        connection = http.client.HTTPConnection(address, timeout=30)
        with contextlib.closing(connection):
            connection.request(self.method, self.target, self.body, self.headers)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())


def sign(
    key: AccessKey,
    action: str,
    parameters: dict[str, str],
    *,
    version: str = "2020-11-09",
    time_s: float | None = None,
    body: bytes = b"",
) -> Signed:
    """Sign a call as the vendor's page on the signature tells."""
    at = time.gmtime(time.time() if time_s is None else time_s)
    headers = {
        "host": "ice.example",
        "x-acs-action": action,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", at),
        "x-acs-signature-nonce": secrets.token_hex(16),
        "x-acs-version": version,
    }
    if key.security_token is not None:
        headers["x-acs-security-token"] = key.security_token
    query = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(parameters.items())
    )
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"POST\n/\n{query}\n{lines}\n{names}\n{headers['x-acs-content-sha256']}"
    text = "ACS3-HMAC-SHA256\n" + hashlib.sha256(canonical.encode()).hexdigest()
    signature = hmac.new(key.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"ACS3-HMAC-SHA256 Credential={key.id},SignedHeaders={names},Signature={signature}"
    )
    return Signed(f"/?{query}" if query else "/", headers, body)
