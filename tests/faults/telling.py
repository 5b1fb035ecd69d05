"""The steps in which a user says who is one person and who is not."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from tests.faults.call import Call
from tests.faults.world import Face, World

import facegrep
from facegrep.engine import PersonFace, UnknownPerson


def plan_merge(chance: random.Random, world: World, _step: int) -> Call | None:
    """A few faces, with all those that they are told to be one person with."""
    active = sorted(name for name, shelf in world.shelves.items() if shelf.active)
    if not active:
        return None
    library = chance.choice(active)
    live = world.live(library)
    chosen = chance.sample(sorted(live), min(len(live), chance.randint(2, 4)))
    faces = [(key, chance.randrange(len(live[key].vectors))) for key in chosen if live[key].vectors]
    together = _together(world, library, faces)
    if len(faces) < 2 or len({media_id for media_id, _ in together}) < len(together):
        return None  # two of one picture
    return Call("merge", library, faces=tuple(faces))


def merge(engine: facegrep.Engine, call: Call) -> Any:
    """Each face is handed in as a person."""
    return engine.merge_people(call.library, [_person([face]) for face in call.faces])


def after_merge(world: World, call: Call) -> World:
    together = _together(world, call.library, call.faces)
    others = [told for told in world.shelves[call.library].told if not told & together]
    return world.with_told(call.library, [*others, together])


def plan_split(chance: random.Random, world: World, _step: int) -> Call | None:
    """One face of those that are told to be one person; the first of the call."""
    for library in sorted(world.shelves):
        live = world.live(library)
        for told in sorted(map(sorted, world.shelves[library].told)):
            faces = [face for face in told if face[0] in live]
            if len(faces) > 1:
                chance.shuffle(faces)
                return Call("split", library, faces=tuple(faces))
    return None


def split(engine: facegrep.Engine, call: Call) -> Any:
    media_id, face_no = call.faces[0]
    return engine.split_person(call.library, _person(call.faces), [f"{media_id}#{face_no}"])


def after_split(world: World, call: Call) -> World:
    one = frozenset(call.faces[:1])
    left = [told - one for told in world.shelves[call.library].told]
    return world.with_told(call.library, [*left, one])


def _together(world: World, library: str, faces: Iterable[Face]) -> frozenset[Face]:
    wanted = frozenset(faces)
    return wanted.union(*(told for told in world.shelves[library].told if told & wanted))


def _person(faces: Iterable[Face]) -> UnknownPerson:
    """Somebody with these faces, as if `people` had said so."""
    found = tuple(PersonFace(media_id, face_no, None, 1.0) for media_id, face_no in faces)
    return UnknownPerson(found[0].face_id, found[0], found, len(found), told=False)
