"""Policies: default deny, Deny beats Allow, wildcards; what is not honoured is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import facegrep
from facegrep.keys import DEFAULT_POLICY, Policy

ACTIONS = ("SearchMediaByFace", "QuerySearchLib", "ListSearchLib", "DropSearchLib")


def statement(effect: str, action: str | list[str], resource: object = "*") -> dict[str, object]:
    return {"Effect": effect, "Action": action, "Resource": resource}


def policy(*statements: dict[str, object]) -> Policy:
    return Policy(json.dumps({"Version": "1", "Statement": list(statements)}))


def test_a_new_key_may_do_everything_in_its_account() -> None:
    assert all(Policy(DEFAULT_POLICY).allows(f"ice:{action}") for action in ACTIONS)
    assert not Policy(DEFAULT_POLICY).allows("ecs:RunInstances")


def stands_for(pattern: str, name: str) -> bool:
    if not pattern or not name:
        return pattern.strip("*") == name
    if pattern[0] == "*":
        return stands_for(pattern[1:], name) or stands_for(pattern, name[1:])
    return pattern[0] in ("?", name[0]) and stands_for(pattern[1:], name[1:])


PATTERNS = st.one_of(
    st.text("*?aiL", min_size=1, max_size=5).map("ice:".__add__),
    st.sampled_from(["*", "ice:*", "ice:*Lib", "ice:*Search*", "ice:?ropSearchLib", "ice:list*"]),
    st.sampled_from([f"ice:{action}" for action in ACTIONS]),
)


@given(
    st.lists(
        st.tuples(st.sampled_from(["Allow", "Deny"]), st.lists(PATTERNS, min_size=1)), min_size=1
    )
)
def test_it_allows_what_some_statement_allows_and_none_denies(
    statements: list[tuple[str, list[str]]],
) -> None:
    made = policy(*(statement(effect, patterns) for effect, patterns in statements))
    for action in ACTIONS:
        name = f"ice:{action}".lower()
        effects = {
            effect
            for effect, patterns in statements
            for pattern in patterns
            if stands_for(pattern.lower(), name)
        }
        assert made.allows(f"ice:{action}") == ("Allow" in effects and "Deny" not in effects)


@pytest.mark.timeout(10)
def test_no_pattern_takes_long() -> None:
    # Who tries every way to share a name out among "*" is not done with these in a day.
    for pattern in ("ice:" + "*" * 60 + "x", "ice:" + "***?" * 10 + "x"):
        assert not policy(statement("Allow", pattern)).allows("ice:SearchMediaClipByFace")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "not JSON",
        '{"Version":"1","Statement":[]}',
        '{"Version":"2","Statement":[{"Effect":"Allow","Action":"ice:*","Resource":"*"}]}',
        '{"Version":"1","Statement":[{"Effect":"allow","Action":"ice:*","Resource":"*"}]}',
        '{"Version":"1","Statement":[{"Effect":"Allow","Action":"ice:*"}]}',
        '{"Version":"1","Statement":[{"Effect":"Allow","Action":[],"Resource":"*"}]}',
        '{"Version":"1","Statement":[{"Effect":"Allow","NotAction":"ice:*","Resource":"*"}]}',
        '{"Version":"1","Statement":[{"Effect":"Allow","Action":"ecs:*","Resource":"*"}]}',
        '{"Version":"1","Statement":[{"Effect":"Allow","Action":"ice:*","Resource":"acs:ice:*"}]}',
        '{"Version":"1","Statement":[{"Effect":"Allow","Action":"ice:*","Resource":"*",'
        '"Condition":{"IpAddress":{"acs:SourceIp":"10.0.0.0/8"}}}]}',
        '{"Version":"1","Statement":[{"Effect":"Deny","Effect":"Allow","Action":"ice:*",'
        '"Resource":"*"}]}',
        "[" * 100_000,
        '{"Version":"1","Statement":"' + "x" * 20_000 + '"}',
        '{"Version":"\ud800"}',
    ],
)
def test_what_it_cannot_honour_is_refused(text: str) -> None:
    with pytest.raises(facegrep.InvalidArgumentError, match="policy: expected"):
        Policy(text)
