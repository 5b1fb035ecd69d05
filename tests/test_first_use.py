"""What is prepared when a module is imported, so that threads may be the first to use it at once.

msgspec looks at a type when it is first read into; threads that do so at once read what is half
made, and about one process in ten crashes.
"""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import msgspec._utils
from facegrep._errors import InvalidArgumentError
from facegrep.ice import _bodies, _filters
from facegrep.keys import Policy
from facegrep.keys._keys import _SECRET
from facegrep.store import Receipt

looked_at = []
look = msgspec._utils._get_class_mro_and_typevar_mappings

def noted(obj):
    looked_at.append(getattr(obj, "__name__", str(obj)))
    return look(obj)

msgspec._utils._get_class_mro_and_typevar_mappings = noted
Policy()
_SECRET.decode(b'{"secret": "", "security_token": null}')
_bodies.read_msg_body('{"customFields": {"intField1": 1}}')
_bodies.read_library_config('{}')
_filters.read_custom_filters('{"intField1": {"gte": 1}}')
try:
    Receipt.from_dict({})
except InvalidArgumentError:
    pass
print(looked_at)

class Unseen(msgspec.Struct):
    number: int

msgspec.convert({"number": 1}, Unseen)
print(looked_at)
"""


def test_no_type_is_looked_at_for_the_first_time_in_a_call() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    in_calls, noticed = done.stdout.splitlines()
    assert in_calls == "[]"
    assert noticed == "['Unseen']"  # else msgspec looks in another way, and this tests nothing
