"""The engine that a command works with: who acts, and never a store made by mistake."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Any

from facegrep._errors import StoreVersionError

if TYPE_CHECKING:
    from pathlib import Path

    from facegrep import Engine


def actor() -> str:
    """Who the audit says it was: the user that the command runs as."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name or str(os.getuid())
    except KeyError:  # a container's number without a name
        return str(os.getuid())


def open_existing(store: Path, **options: Any) -> Engine:  # noqa: ANN401 - facegrep.open's
    """Open a store that is there to change it; one of an older version is upgraded."""
    import facegrep

    try:
        facegrep.open(store, readonly=True).close()  # for writing, it would be created
    except StoreVersionError as error:
        if error.found > error.supported:
            raise
    return facegrep.open(store, actor=actor(), **options)


def open_to_search(store: Path, **options: Any) -> Engine:  # noqa: ANN401 - facegrep.open's
    """Open a store to read it, and to write down its searches if they are audited."""
    import facegrep

    engine = facegrep.open(store, readonly=True, **options)
    if not engine.search_audit:
        return engine
    engine.close()
    return facegrep.open(store, actor=actor(), **options)
