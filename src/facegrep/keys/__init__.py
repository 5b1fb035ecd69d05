"""Keys of those who may call a server: made, sealed, listed, disabled; and what each may do."""

from __future__ import annotations

from facegrep.keys._keys import AccessKey, Keys
from facegrep.keys._policy import DEFAULT_POLICY, Policy
from facegrep.keys._sealing import (
    MASTER_KEY_VARIABLE,
    NEW_MASTER_KEY_VARIABLE,
    MasterKey,
    master_key_from_environment,
)

__all__ = [
    "DEFAULT_POLICY",
    "MASTER_KEY_VARIABLE",
    "NEW_MASTER_KEY_VARIABLE",
    "AccessKey",
    "Keys",
    "MasterKey",
    "Policy",
    "master_key_from_environment",
]
