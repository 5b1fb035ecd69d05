"""The HTTP skin of `facegrep.ice`, as the vendor's own client calls it."""

from __future__ import annotations
