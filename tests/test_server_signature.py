"""ACS3-HMAC-SHA256: what the vendor's client signs is accepted, and nothing else is."""

from __future__ import annotations

import hashlib
import hmac
import random
import runpy
from pathlib import Path
from typing import Any, NamedTuple

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import vendor_client

from facegrep.ice import IceError
from facegrep.server._query import canonical_query, encode, read_query
from facegrep.server._signature import SignedRequest, check_signature, read_signed

SECRET = "the secret of a test"
TRICKY = {
    "PersonImageUrl": "http://a/b+c?d=e&f=%2B#~*'(é) 中",
    "FaceSearchToken": "a b+c*~'",
    "CustomFilters": '{"strField1":"x y*~","intField1":{"gte":1}}',
    "EntityId": "",
}
FIELDS: dict[str, Any] = {
    "person_image_url": TRICKY["PersonImageUrl"],
    "face_search_token": TRICKY["FaceSearchToken"],
    "custom_filters": TRICKY["CustomFilters"],
    "entity_id": "",
}


class Raw(NamedTuple):
    """A request as a server reads it."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""

    def read(self) -> SignedRequest:
        path, _, query = self.target.partition(b"?")
        return read_signed(self.method, path.decode("latin-1"), query, self.headers, self.body)

    def check(self, *, now_ms: int | None = None, secret: str | None = SECRET) -> SignedRequest:
        request = self.read()
        at_ms = request.time_ms if now_ms is None else now_ms
        known = request.access_key_id in {"AK", "YourAccessKeyId"} and secret is not None
        check_signature(request, secret.encode() if known and secret else None, None, at_ms)
        return request

    def header(self, name: bytes) -> bytes:
        return dict(self.headers)[name]


def parse(data: bytes) -> Raw:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    event = connection.next_event()
    if not isinstance(event, h11.Request):
        raise h11.RemoteProtocolError("no whole request")
    return Raw(event.method.decode(), event.target, list(event.headers))


@pytest.fixture(scope="module", params=["sync", "async"])
def sent(request: pytest.FixtureRequest) -> bytes:
    """What the vendor's client sends."""
    with pytest.MonkeyPatch.context() as patch, vendor_client.listener() as (address, came):
        vendor_client.without_proxies(patch)
        client = vendor_client.client(address, "AK", SECRET)
        asynchronous = request.param == "async"
        vendor_client.call(client, "SearchMediaByFace", asynchronous=asynchronous, **FIELDS)
    return came[0]


def refused(raw: Raw, **options: object) -> str:
    with pytest.raises(IceError) as caught:
        raw.check(**options)  # type: ignore[arg-type]
    return caught.value.code


def test_what_the_vendors_client_sends_is_accepted_and_read(sent: bytes) -> None:
    request = parse(sent).check()
    assert request.parameters == TRICKY
    assert (request.action, request.version) == ("SearchMediaByFace", "2020-11-09")
    assert request.access_key_id == "AK"
    assert len(request.nonce) == 32


def test_temporary_credentials_are_wanted_with_their_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vendor_client.without_proxies(monkeypatch)
    with vendor_client.listener() as (address, came):
        client = vendor_client.client(address, "STS.AK", SECRET, "the token")
        vendor_client.call(client, "SearchMediaByFace", **FIELDS)
    request = parse(came[0]).read()
    assert request.security_token == "the token"
    check_signature(request, SECRET.encode(), "the token", request.time_ms)
    for other in (None, "another token"):
        with pytest.raises(IceError, match="InvalidSecurityToken"):
            check_signature(request, SECRET.encode(), other, request.time_ms)


def test_a_key_with_a_token_is_refused_without_it(sent: bytes) -> None:
    request = parse(sent).read()
    with pytest.raises(IceError, match="InvalidSecurityToken"):
        check_signature(request, SECRET.encode(), "the token", request.time_ms)


def test_the_vendors_published_example_has_the_published_signature() -> None:
    nonce = b"3156853299f313e23d1673dc12e1703d"
    raw = Raw(
        "POST",
        b"/?ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai",
        [
            (b"host", b"ecs.cn-shanghai.aliyuncs.com"),
            (b"x-acs-action", b"RunInstances"),
            (b"x-acs-content-sha256", hashlib.sha256(b"").hexdigest().encode()),
            (b"x-acs-date", b"2023-10-26T10:22:32Z"),
            (b"x-acs-signature-nonce", nonce),
            (b"x-acs-version", b"2014-05-26"),
            (
                b"authorization",
                b"ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;"
                b"x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature="
                b"06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0",
            ),
        ],
    )
    assert raw.check(secret="YourAccessKeySecret").access_key_id == "YourAccessKeyId"


def meaning(raw: Raw) -> object:
    """All of a request that is signed, and what signs it."""
    path, _, query = raw.target.partition(b"?")
    listed = raw.header(b"authorization").partition(b"SignedHeaders=")[2].partition(b",")[0]
    signed = {name: raw.header(name) for name in (b"authorization", *listed.split(b";"))}
    return raw.method, path, read_query(query), signed, raw.body


def test_every_byte_that_is_changed_in_what_is_signed_is_noticed(sent: bytes) -> None:
    chance = random.Random(6)
    original = meaning(parse(sent))
    noticed = 0
    for _ in range(100_000):
        if noticed == 1000:  # of each of the two clients
            break
        place = chance.randrange(len(sent))
        byte = bytes([chance.randrange(32, 127)])
        kind = chance.randrange(3)
        changed = sent[:place] + (b"" if kind == 0 else byte) + sent[place + (kind < 2) :]
        try:
            raw = parse(changed)
        except h11.RemoteProtocolError:  # not even HTTP
            continue
        if chance.randrange(50) == 0:
            raw = parse(sent)._replace(body=byte)
        try:
            same = meaning(raw) == original
        except (IceError, KeyError):
            same = False
        if same:  # another spelling, or a header that nobody signed
            raw.check()
            continue
        refused(raw, now_ms=parse(sent).read().time_ms)
        noticed += 1
    assert noticed == 1000


@pytest.mark.parametrize(
    "name",
    [
        b"host",
        b"x-acs-action",
        b"x-acs-version",
        b"x-acs-date",
        b"x-acs-signature-nonce",
        b"x-acs-content-sha256",
    ],
)
def test_a_header_that_matters_and_is_not_signed_or_comes_twice_is_refused(
    sent: bytes, name: bytes
) -> None:
    raw = parse(sent)
    without = [(n, v) for n, v in raw.headers if n != name]
    twice = [*raw.headers, (name, raw.header(name))]
    unsigned = [
        (n, v.replace(name + b";", b"").replace(b";" + name, b"") if n == b"authorization" else v)
        for n, v in raw.headers
    ]
    for headers in (without, twice, unsigned):
        assert refused(raw._replace(headers=headers)) == "IncompleteSignature"


def test_another_header_of_the_vendor_must_be_signed_too(sent: bytes) -> None:
    raw = parse(sent)
    headers = [*raw.headers, (b"x-acs-security-token", b"slipped in")]
    assert refused(raw._replace(headers=headers)) == "IncompleteSignature"


def test_fifteen_minutes_are_accepted_and_a_second_more_is_not(sent: bytes) -> None:
    raw = parse(sent)
    sent_ms = raw.read().time_ms
    for minutes in (-15, 15):
        raw.check(now_ms=sent_ms + minutes * 60_000)
        late = sent_ms + minutes * 60_000 + (1000 if minutes > 0 else -1000)
        assert refused(raw, now_ms=late) == "InvalidTimeStamp.Expired"


@pytest.mark.parametrize(
    "date",
    [b"2026-13-01T00:00:00Z", b"2026-11-25T00:00:60Z", b"Wed, 25 Nov 2026", b"2026-11-25T00:00:00"],
)
def test_a_date_of_another_form_is_refused(sent: bytes, date: bytes) -> None:
    raw = parse(sent)
    headers = [(n, date if n == b"x-acs-date" else v) for n, v in raw.headers]
    assert refused(raw._replace(headers=headers)) == "InvalidTimeStamp.Format"


def test_a_key_that_does_not_exist_is_said_after_the_same_work(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    real = hmac.compare_digest

    def compare(ours: Any, theirs: Any) -> bool:
        compared.append(ours)
        return real(ours, theirs)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert refused(parse(sent), secret=None) == "InvalidAccessKeyId.NotFound"
    assert len(compared) == 1


@pytest.mark.parametrize(
    "authorization",
    [
        b"",
        b"ACS3-HMAC-SM3 Credential=AK,SignedHeaders=host,Signature=" + b"0" * 64,
        b"ACS3-HMAC-SHA256 Credential=AK, SignedHeaders=host, Signature=" + b"0" * 64,
        b"ACS3-HMAC-SHA256 Credential=AK,SignedHeaders=host,Signature=" + b"A" * 64,
        b"ACS3-HMAC-SHA256 Credential=,SignedHeaders=host,Signature=" + b"0" * 64,
        b"ACS3-HMAC-SHA256 Credential=AK,SignedHeaders=x-acs-date;host,Signature=" + b"0" * 64,
        b"ACS3-HMAC-SHA256 Credential=AK,SignedHeaders=host;host,Signature=" + b"0" * 64,
    ],
)
def test_another_form_of_authorization_is_refused(sent: bytes, authorization: bytes) -> None:
    raw = parse(sent)
    headers = [(n, authorization if n == b"authorization" else v) for n, v in raw.headers]
    assert refused(raw._replace(headers=headers)) == "IncompleteSignature"


@pytest.mark.parametrize(
    "query", [b"a=1&a=2", b"a=1&&b=2", b"=1", b"a=%zz", b"a=%2", b"a=%ff", b"a=b c", b"a=\xc3\xa9"]
)
def test_an_ambiguous_query_is_refused(query: bytes) -> None:
    with pytest.raises(IceError, match="400 InvalidParameter"):
        read_query(query)


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=8))
def test_every_text_survives_its_canonical_spelling(parameters: dict[str, str]) -> None:
    spelled = canonical_query(parameters)
    assert read_query(spelled.encode()) == parameters
    assert read_query(spelled.replace("%20", "+").encode()) == parameters
    assert not set(encode("".join(parameters))) & set("+* &=")
    names = [part.partition("=")[0] for part in spelled.split("&") if parameters]
    assert names == [encode(name) for name in sorted(parameters)]


FUZZ_TARGET = runpy.run_path(str(Path(__file__).parent / "fuzz" / "signature_fuzz.py"))


@given(st.lists(st.binary(max_size=60), max_size=9).map(b"\n".join))
def test_the_fuzz_target_finds_nothing(data: bytes) -> None:
    FUZZ_TARGET["fuzz_one"](data)


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_no_bytes_make_the_parser_fail_in_another_way(query: bytes, authorization: bytes) -> None:
    names = (b"host", b"x-acs-action", b"x-acs-version", b"x-acs-date", b"x-acs-signature-nonce")
    headers = [(name, authorization) for name in names]
    with pytest.raises(IceError):
        Raw("POST", b"/?" + query, [*headers, (b"authorization", authorization)]).read()
