"""What is done to the keys of those who call a server, and to the nonces that they use."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Final

from tests.faults.call import Call, Operation
from tests.faults.world import World

import facegrep
from facegrep.keys import Keys

_KEYS: Final = 8
_NONCES: Final = 32
_NEVER_MS: Final = 2**50


def _plan_hire(_chance: random.Random, world: World, step: int) -> Call | None:
    if len(world.keys) >= _KEYS:
        return None
    return Call("hire", token=f"caller {step}", query=world.master)


def _perform_hire(engine: facegrep.Engine, call: Call) -> Any:
    return Keys(engine, _master_key(call.query)).create(call.token)


def _plan_reseal(_chance: random.Random, world: World, _step: int) -> Call | None:
    return Call("reseal", query=world.master) if world.keys else None


def _perform_reseal(engine: facegrep.Engine, call: Call) -> Any:
    return Keys(engine, _master_key(call.query)).reseal(_master_key(call.query + 1))


def _master_key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _plan_fire(chance: random.Random, world: World, _step: int) -> Call | None:
    active = [account for account, disabled in world.keys.items() if not disabled]
    return Call("fire", token=chance.choice(active)) if active else None


def _perform_fire(engine: facegrep.Engine, call: Call) -> Any:
    keys = Keys(engine)
    keys.disable(next(key.id for key in keys.list() if key.account == call.token))


def _plan_admit(_chance: random.Random, _world: World, step: int) -> Call:
    return Call("admit", token=f"nonce {step}")


def _perform_admit(engine: facegrep.Engine, call: Call) -> Any:
    return engine.access.use_nonce("key", call.token, _NEVER_MS)


CALLERS: Final[dict[str, Operation]] = {
    "hire": Operation(
        weight=1,
        plan=_plan_hire,
        perform=_perform_hire,
        after=lambda world, call: replace(world, keys={**world.keys, call.token: False}),
    ),
    "fire": Operation(
        weight=1,
        plan=_plan_fire,
        perform=_perform_fire,
        after=lambda world, call: replace(world, keys={**world.keys, call.token: True}),
    ),
    "reseal": Operation(
        weight=1,
        plan=_plan_reseal,
        perform=_perform_reseal,
        after=lambda world, call: replace(world, master=call.query + 1),
    ),
    "admit": Operation(
        weight=2,
        plan=_plan_admit,
        perform=_perform_admit,
        after=lambda world, call: replace(world, nonces=(*world.nonces, call.token)[-_NONCES:]),
    ),
}


def caller_differences(engine: facegrep.Engine, world: World) -> list[str]:
    """List which keys are otherwise than in the model, and which nonces could be used again."""
    opener = Keys(engine, _master_key(world.master))
    listed = opener.list()
    keys = {key.account: key.disabled for key in listed}
    wrong = [] if keys == world.keys else [f"keys {keys}, expected {world.keys}"]
    for key in listed:
        try:
            opener.find(key.id)
        except facegrep.MasterKeyError:
            wrong.append(f"the secret of {key.account} does not open with key {world.master}")
    with engine._shared.store.session.read() as connection:
        used = {nonce for (nonce,) in connection.execute("SELECT nonce FROM nonce")}
    return wrong + [f"{nonce} could be used again" for nonce in {*world.nonces} - used]
