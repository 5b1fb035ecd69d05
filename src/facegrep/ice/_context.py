"""What every action works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from facegrep.ice._sources import Sources

if TYPE_CHECKING:
    from facegrep.engine import Engine

Reply: TypeAlias = dict[str, Any]
"""Text, numbers, lists and dicts, as JSON has them."""


@dataclass(frozen=True, slots=True)
class Context:
    """The account's view of the engine, and where pictures may come from."""

    engine: Engine
    sources: Sources
