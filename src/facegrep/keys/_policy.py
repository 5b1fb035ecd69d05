"""RAM-style policies: what a key may do. Nothing, unless a statement allows it and none denies it.

What such a policy can say elsewhere and is not honoured here (``Condition``, ``NotAction``,
resources other than ``*``) is refused when the key is made: to ignore it would allow more, or deny
less, than was meant.
"""

from __future__ import annotations

import fnmatch
import functools
import json
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from facegrep._errors import InvalidArgumentError

DEFAULT_POLICY: Final = (
    '{"Version":"1","Statement":[{"Effect":"Allow","Action":"ice:*","Resource":"*"}]}'
)
"""Everything, in the key's own account: no key reaches another."""

MAX_POLICY_BYTES: Final = 16 * 1024

# No "[", which fnmatch would take for a set.
_Action = Annotated[str, Meta(pattern=r"^(\*|ice:[A-Za-z*?]+)$", max_length=128)]


class _Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    Effect: Literal["Allow", "Deny"]
    Action: _Action | Annotated[list[_Action], Meta(min_length=1, max_length=128)]
    Resource: Literal["*"] | Annotated[list[Literal["*"]], Meta(min_length=1, max_length=1)]

    def names(self, action: str) -> bool:
        patterns = [self.Action] if isinstance(self.Action, str) else self.Action
        return any(_matches(pattern, action) for pattern in patterns)


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    Version: Literal["1"]
    Statement: Annotated[list[_Statement], Meta(min_length=1, max_length=64)]


# Made here, once: msgspec looks at a type when it first decodes it, and threads that do so at once
# crash.
_DECODER: Final = msgspec.json.Decoder(_Document)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a key may do.

    Parameters
    ----------
    text
        JSON: ``{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "ice:Search*",
        "Resource": "*"}]}``. ``*`` and ``?`` stand for any characters and for one; case does not
        matter.

    Raises
    ------
    InvalidArgumentError
        It is something else, or says what is not honoured here.
    """

    text: str = DEFAULT_POLICY

    def __post_init__(self) -> None:
        size_bytes = len(self.text.encode(errors="replace"))
        if size_bytes > MAX_POLICY_BYTES:
            raise InvalidArgumentError(
                f"policy: expected at most {MAX_POLICY_BYTES} bytes, got {size_bytes}"
            )
        _read(self.text)

    def allows(self, action: str) -> bool:
        """Whether an action, such as ``ice:SearchMediaByFace``, is allowed."""
        effects = {one.Effect for one in _read(self.text).Statement if one.names(action)}
        return effects == {"Allow"}


@functools.lru_cache(maxsize=256)
def _read(text: str) -> _Document:
    try:
        _refuse_repeated(text)
        return _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(
            f"policy: expected statements that Allow or Deny ice: actions on '*': {error}"
        ) from error


def _refuse_repeated(text: str) -> None:
    """Of a name that comes twice msgspec would take the last one: a Deny could hide."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name comes twice in one object")
        return dict(pairs)

    json.loads(text, object_pairs_hook=once)


def _matches(pattern: str, action: str) -> bool:
    return fnmatch.fnmatchcase(action.lower(), pattern.lower())
