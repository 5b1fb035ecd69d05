"""The HTTP skin of `facegrep.ice`, as the vendor's own client calls it. Needs the extra ``server``.

`create_app` is for those who have a server already; ``facegrep serve`` is one.
"""

from __future__ import annotations

from facegrep.server._app import create_app

__all__ = ["create_app"]
