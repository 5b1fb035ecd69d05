"""The store: a catalog, segments of vectors, and what searches write."""

from __future__ import annotations

from facegrep.store._answer import Answer

__all__ = ["Answer"]
