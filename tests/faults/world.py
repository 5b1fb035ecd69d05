"""What a store must hold: the model that every fault is judged against.

Assets are made of numbers: the vector, the id and the title of each follow from its number, so that
any process can say what the store must answer without having been told.
"""

from __future__ import annotations

import functools
import uuid
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tests.faults.clock import START_MS

from facegrep import _core

DIM: Final = 64
_NAMESPACE: Final = uuid.UUID("5a0f44cc-1f0c-4b6b-9d0e-fd8f0c2b9a11")
_GRAVEYARD: Final = 64


@functools.lru_cache(maxsize=1 << 11)
def vector_of(number: int) -> NDArray[np.float32]:
    """The vector of that number, ``(DIM,)``."""
    return np.random.default_rng([20201109, number]).normal(size=DIM).astype(np.float32)


@functools.lru_cache(maxsize=1 << 11)
def code_of(number: int) -> NDArray[np.int8]:
    """What the store keeps of that vector."""
    code: NDArray[np.int8] = _core.quantize(vector_of(number)[np.newaxis])[0]
    return code


@functools.lru_cache(maxsize=1 << 11)
def media_id_of(number: int) -> str:
    """A UUID."""
    return str(uuid.uuid5(_NAMESPACE, str(number)))


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset that was acknowledged: the numbers of its vectors, and what is said of it.

    Attributes
    ----------
    added_ms
        When it was added; that decides when it expires.
    is_video
        Whether it has tracks: `films.py` says which.
    """

    media_id: str
    vectors: tuple[int, ...]
    int_field1: int | None = None
    str_field1: str | None = None
    title: str | None = None
    added_ms: int = START_MS
    is_video: bool = False


@dataclass(frozen=True, slots=True)
class Frozen:
    """An answer under a token: the query's number, and ``(media_id, score)`` best first."""

    library: str
    query: int
    hits: tuple[tuple[str, float], ...]


Face: TypeAlias = tuple[str, int]
"""The id of an asset, and the number of a face in it."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A library.

    Attributes
    ----------
    assets
        All that is stored, also what has expired and was not purged.
    active
        Whether its face index is; without, it holds assets but no vectors.
    ttl_ms
        How long assets are kept; ``None``: for ever.
    told
        The faces that are told to be one person, of each such person.
    """

    assets: dict[str, Asset] = field(default_factory=dict)
    active: bool = True
    ttl_ms: int | None = None
    told: tuple[frozenset[Face], ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """A store's content after some step. Never changed: each step makes the next one.

    Attributes
    ----------
    gone
        The last ids that were removed, of every library; some come back.
    now_ms
        What time it is.
    search_audit, audited
        Whether searches are audited; the last that were, by who made them.
    copy, backups
        What the last backup holds, and how many were made.
    known, listed
        Whether there is a recognition library, and whether the main library lists it.
    people
        Those whom the one recognition library knows, in the order of making: the numbers of their
        samples by their names.
    keys, master
        Whether each account's key was disabled, in the order of making; the number of the master
        key that seals their secrets.
    nonces
        The last that were used.
    """

    shelves: dict[str, Shelf] = field(default_factory=dict)
    tokens: dict[str, Frozen] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    now_ms: int = START_MS
    search_audit: bool = False
    audited: tuple[str, ...] = ()
    copy: World | None = None
    backups: int = 0
    known: bool = False
    listed: bool = False
    people: dict[str, tuple[int, ...]] = field(default_factory=dict)
    keys: dict[str, bool] = field(default_factory=dict)
    master: int = 0
    nonces: tuple[str, ...] = ()

    def live(self, library: str) -> dict[str, Asset]:
        """The assets that have not expired."""
        shelf = self.shelves[library]
        if shelf.ttl_ms is None:
            return shelf.assets
        until_ms = self.now_ms - shelf.ttl_ms
        return {key: each for key, each in shelf.assets.items() if each.added_ms > until_ms}

    def expired(self, library: str) -> list[str]:
        """The ids of those that have."""
        return sorted(self.shelves[library].assets.keys() - self.live(library).keys())

    def backed_up(self) -> World:
        """What a backup made now holds: no frozen answers."""
        return replace(self, tokens={}, copy=None, backups=0)

    def with_assets(self, library: str, assets: list[Asset]) -> World:
        """Put in assets, in place of those of the same id."""
        shelf = self.shelves[library]
        put = {asset.media_id: asset for asset in assets}
        shelf = replace(shelf, assets=shelf.assets | put)
        gone = tuple(media_id for media_id in self.gone if media_id not in put)
        return replace(self, shelves=self.shelves | {library: shelf}, gone=gone)

    def without(self, library: str, media_ids: list[str]) -> World:
        """Take out assets, also from frozen answers."""
        shelf = self.shelves[library]
        kept = {key: asset for key, asset in shelf.assets.items() if key not in set(media_ids)}
        gone = [media_id for media_id in media_ids if media_id in shelf.assets]
        left = [frozenset(face for face in told if face[0] in kept) for told in shelf.told]
        told = tuple(filter(None, left))
        tokens = {
            token: replace(frozen, hits=tuple(hit for hit in frozen.hits if hit[0] in kept))
            if frozen.library == library
            else frozen
            for token, frozen in self.tokens.items()
        }
        return replace(
            self,
            shelves=self.shelves | {library: replace(shelf, assets=kept, told=told)},
            tokens=tokens,
            gone=(*self.gone, *gone)[-_GRAVEYARD:],
        )

    def with_told(self, library: str, told: list[frozenset[Face]]) -> World:
        """Say anew who is told to be one person."""
        shelf = replace(self.shelves[library], told=tuple(filter(None, told)))
        return replace(self, shelves=self.shelves | {library: shelf})

    def without_library(self, library: str) -> World:
        """Take out a library, with its tokens."""
        return replace(
            self,
            shelves={name: shelf for name, shelf in self.shelves.items() if name != library},
            tokens={key: each for key, each in self.tokens.items() if each.library != library},
            gone=(*self.gone, *self.shelves[library].assets)[-_GRAVEYARD:],
        )

    def without_samples_like(self, query: int) -> World:
        """Take out samples, and people who have no other."""
        left = {
            name: tuple(number for number in samples if number != query)
            for name, samples in self.people.items()
        }
        gone = {name for name, samples in self.people.items() if samples and not left[name]}
        return replace(self, people={key: left[key] for key in left if key not in gone})

    def recognised(self, library: str, threshold: float) -> dict[str, list[str]]:
        """Who is in which assets: each face is whoever it is most like, from a cosine on."""
        names = [name for name, samples in self.people.items() if samples]
        found: dict[str, list[str]] = {name: [] for name in self.people}
        assets = list(self.live(library).values())
        if not names or not assets:
            return found
        queries = np.array([_fused(self.people[name]) for name in names])
        for asset in assets:
            codes = np.array([_unit(number) for number in asset.vectors])
            cosines = codes @ queries.T
            best = cosines.argmax(axis=1)
            for person in {int(best[row]) for row in np.flatnonzero(cosines.max(1) >= threshold)}:
                found[names[person]].append(asset.media_id)
        return {name: sorted(media_ids) for name, media_ids in found.items()}

    def ranked(self, library: str, query: int) -> list[tuple[str, float]]:
        """Every asset that is there with its best cosine: score descending, then id."""
        assets = list(self.live(library).values())
        if not assets:
            return []
        codes = np.array([code_of(n) for each in assets for n in each.vectors], dtype=np.float64)
        wanted = vector_of(query).astype(np.float64)
        cosines = codes @ wanted / (np.linalg.norm(codes, axis=1) * np.linalg.norm(wanted))
        ends = np.cumsum([len(asset.vectors) for asset in assets])
        starts = ends - [len(asset.vectors) for asset in assets]
        best = np.maximum.reduceat(cosines, starts)
        pairs = [(each.media_id, float(score)) for each, score in zip(assets, best, strict=True)]
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def _unit(number: int) -> NDArray[np.float64]:
    code = code_of(number).astype(np.float64)
    return code / np.linalg.norm(code)


def _fused(numbers: tuple[int, ...]) -> NDArray[np.float64]:
    mean = np.mean([_unit(number) for number in numbers], axis=0)
    return np.asarray(mean / np.linalg.norm(mean))
