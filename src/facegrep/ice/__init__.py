"""ICE-compatible face search in process: the actions, parameters, replies and errors of the wire.

The wire is ``ICE 2020-11-09``; what the vendor leaves open, and what was chosen, is in the README.
"""

from __future__ import annotations

from facegrep.ice._errors import IceError
from facegrep.ice._service import ACTIONS, Service

__all__ = ["ACTIONS", "IceError", "Service"]
