"""``python -m facegrep``: the command."""

from __future__ import annotations

from facegrep.cli import main

main()
