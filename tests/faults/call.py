"""A step of a plan, and an operation: how it is planned, performed, and what it leaves."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.world import Asset, Face, World

import facegrep


@dataclass(frozen=True, slots=True)
class Call:
    """A step that was planned: plain data, the same in every process."""

    verb: str
    library: str = ""
    assets: tuple[Asset, ...] = ()
    media_ids: tuple[str, ...] = ()
    token: str = ""
    query: int = 0
    ms: int | None = None
    on: bool = False
    faces: tuple[Face, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """An entry of `OPERATIONS`.

    Attributes
    ----------
    weight
        How often, beside the others.
    plan
        A call, or ``None`` where there is nothing to do it to.
    perform
        Does it, on an engine; what it returned is acknowledged.
    after
        What the store holds then.
    """

    weight: int
    plan: Callable[[random.Random, World, int], Call | None] = field(repr=False)
    perform: Callable[[facegrep.Engine, Call], Any] = field(repr=False)
    after: Callable[[World, Call], World] = field(repr=False)
