"""What is prepared when a module is imported: threads that use it first, at once, do not crash."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys, threading
from facegrep.ice import _bodies, _filters
from facegrep.keys import Policy
from facegrep.store import Receipt

def receipt():
    try:
        Receipt.from_dict({})
    except Exception:
        pass

sys.setswitchinterval(1e-6)
for use in (
    lambda: Policy(),
    lambda: _bodies.read_msg_body('{"customFields": {"intField1": 1}}'),
    lambda: _bodies.read_library_config('{}'),
    lambda: _filters.read_custom_filters('{"intField1": {"gte": 1}}'),
    receipt,
):
    begun = threading.Barrier(16)
    def first():
        begun.wait()
        use()
    threads = [threading.Thread(target=first) for _ in range(16)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


@pytest.mark.parametrize("_attempt", range(3))
def test_many_threads_may_be_the_first_to_read_a_request_a_policy_or_a_receipt(
    _attempt: int,
) -> None:
    assert subprocess.run([sys.executable, "-c", SCRIPT], check=False).returncode == 0
