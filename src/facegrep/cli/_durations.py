"""How long media are kept, or keys are good, as people write it: 36h, 30d, 3y."""

from __future__ import annotations

import re

import typer

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def read_ttl(text: str) -> int | None:
    """Read a time such as ``30d``, in milliseconds; ``none`` is for ever."""
    return None if text == "none" else read_duration(text, "TTL", or_else="'none' or ")


def read_duration(text: str, option: str, *, or_else: str = "") -> int:
    """Read a time such as ``30d``, in milliseconds; an error says of which option it was.

    Raises
    ------
    typer.BadParameter
        It is something else; `or_else` names what else is taken.
    """
    found = re.fullmatch(r"([0-9]{1,9})([smhdwy])", text)
    if found is None or not int(found[1]):
        raise typer.BadParameter(
            f"expected {or_else}a number and one of s, m, h, d, w, y (365 days), as in 30d; got "
            f"{text[:40]!r}",
            param_hint=option,
        )
    return int(found[1]) * _UNITS[found[2]] * 1000


def show_duration(ttl_ms: int | None) -> str:
    """Write a time such as ``30d``; ``for ever`` where there is none.

    >>> show_duration(36 * 3600 * 1000)
    '36h'
    """
    if ttl_ms is None:
        return "for ever"
    for unit, seconds in sorted(_UNITS.items(), key=lambda item: -item[1]):
        if ttl_ms % (seconds * 1000) == 0 and unit != "w":
            return f"{ttl_ms // (seconds * 1000):,}{unit}"
    return f"{ttl_ms:,} ms"
