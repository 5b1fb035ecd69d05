"""What the README says of a server, done: keys made by the command, sealed, and sealed anew."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests import vendor_client
from tests.serving import serving

README = Path(__file__).parents[1] / "README.md"
OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


def commands() -> list[list[str]]:
    """Those with which the chapter begins."""
    _, _, chapter = README.read_text("utf-8").partition("## A server\n")
    block = re.search(r"```sh\n(.*?)```", chapter, re.DOTALL)
    assert block is not None
    return [shlex.split(line, comments=True) for line in block[1].splitlines()]


def run(*words: str, **variables: str) -> Any:
    """Run a command to its end; what it prints as JSON."""
    command = [sys.executable, "-m", "facegrep", *words, "--json"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | variables
    )
    return json.loads(ended.stdout)


def test_the_key_that_the_readme_makes_is_good_on_the_server_that_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor_client.without_proxies(monkeypatch)
    store = str(tmp_path / "people")
    export, create, serve = commands()
    assert export[:2] == ["export", "FACEGREP_MASTER_KEY=$(openssl"]
    assert " ".join(serve) == "facegrep serve --store people --port 8080 --workers 2"
    words = [store if word == "people" else word for word in create[1:]]
    made = run(*words, FACEGREP_MASTER_KEY=OLD)

    def ask(address: str) -> Any:
        secret = made["AccessKeySecret"]
        client = vendor_client.client(address, made["AccessKeyId"], secret)
        return vendor_client.call(client, "ListSearchLib")["Total"]

    refused = r"ERROR:facegrep.server:request .*a secret does not open.*"
    with serving(Path(store), workers=2, log_says=refused, FACEGREP_MASTER_KEY=OLD) as (address, _):
        assert ask(address) == 1
        keys = {"FACEGREP_MASTER_KEY": OLD, "FACEGREP_NEW_MASTER_KEY": NEW}
        assert run("keys", "reseal", "--store", store, **keys) == {"resealed": 1}
        with pytest.raises(vendor_client.exceptions().ServerException) as caught:
            ask(address)
        assert (caught.value.status_code, caught.value.code) == (503, "ServiceUnAvailable")
    with serving(Path(store), FACEGREP_MASTER_KEY=NEW) as (address, _):
        assert ask(address) == 1
