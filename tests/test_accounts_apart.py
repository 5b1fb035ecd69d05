"""What one account does changes no byte of any answer that another gets.

A program of calls of two accounts is run, and on the same store the calls of the second account
alone, for an account of its own: what it is told must be the same. The two use the same names of
everything, and guess each other's ids. In a reply the RequestId and the times of a job are left
out, and random ids are numbered in the order in which they appear: one of the other's would be
another number.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.serving import serving, sign

import facegrep
from facegrep.ice import IceError, Service
from facegrep.keys import AccessKey, Keys
from facegrep.vision import FaceAnalyzer

PORTRAITS = Path(__file__).parent / "data" / "portraits"
DEFAULT = "ims-default-search-lib"


def picture(name: str) -> str:
    with Image.open(PORTRAITS / name) as image:
        image.thumbnail((300, 300))
        out = io.BytesIO()
        image.convert("RGB").save(out, "JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


PICTURES = {
    "Macron": picture("Emmanuel_Macron/person_a_1.jpg"),
    "Macron later": picture("Emmanuel_Macron/person_a_2.jpg"),
    "Ardern": picture("Jacinda_Ardern/person_b_1.jpg"),
}


@dataclass(frozen=True)
class Id:
    """The id that came with the n-th thing of a kind that an account made, or the other did."""

    kind: str
    number: int
    own: bool = True

    @property
    def guess(self) -> str:
        return hashlib.sha256(f"{self.kind} {self.number}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Step:
    """A call, pictures by their names; in lower case it is the operator's, for the account."""

    action: str
    parameters: tuple[tuple[str, str | Id], ...] = ()
    number: int = 0


def step(action: str, **parameters: str | Id) -> Step:
    return Step(action, tuple(parameters.items()))


FACE = {"Algorithm": "face"}
PAGE = {"PageNumber": "1", "PageSize": "50"}
LIB, ENTITY, SAMPLE = Id("LibId", 0), Id("EntityId", 0), Id("SampleId", 0)


def search(picture: str, token: str = "t", **more: str | Id) -> Step:
    return step("SearchMediaByFace", PersonImageUrl=picture, FaceSearchToken=token, **more)


def insert(media_id: str, url: str, **more: str | Id) -> Step:
    body = f'{{"title":"{media_id}","customFields":{{"intField1":1,"strField1":"x"}}}}'
    told: dict[str, str | Id] = {"MediaType": "image", "MsgBody": body, **more}
    return step("InsertMediaToSearchLib", MediaId=media_id, Input=url, **told)


# What each account begins with.
FURNITURE = [
    insert("m", "Macron"),
    insert("n", "Ardern", Namespace="press"),
    step("CreateRecognitionLib", LibName="people", **FACE),
    step("CreateRecognitionEntity", LibId=LIB, EntityName="somebody", **FACE),
    step("CreateRecognitionSample", LibId=LIB, EntityId=ENTITY, ImageUrl="Macron later", **FACE),
    step("AlterSearchLib", SearchLibName=DEFAULT, SearchLibConfig=LIB),
    search("Macron later"),
    Step("new key"),
]

# All that an account can see, and what it can be told of ids that are not its own.
VIEW = [
    step("ListSearchLib", PageSize="50"),
    *(
        step(action, SearchLibName=library, **more)
        for library in (DEFAULT, "lib")
        for action, more in (
            ("QuerySearchLib", {}),
            ("QuerySearchIndex", {"IndexType": "face"}),
            ("QueryMediaIndexJob", {"MediaId": "m"}),
            ("QueryMediaIndexJob", {"MediaId": "n"}),
            ("SearchMediaClipByFace", {"MediaId": "m", "FaceSearchToken": "t"}),
            ("SearchMediaClipByFace", {"MediaId": "m", "FaceSearchToken": "u"}),
        )
    ),
    search("Macron later", PageNo="2", PageSize="1"),
    search("Macron later", "u"),
    *(search("Macron later", "v", EntityId=Id("EntityId", 0, own)) for own in (True, False)),
    step("ListRecognitionLibs", **FACE, **PAGE),
    *(
        step(action, LibId=Id("LibId", 0, own), EntityId=Id("EntityId", 0, own), **FACE, **PAGE)
        for own in (True, False)
        for action in ("ListRecognitionEntities", "ListRecognitionSamples")
    ),
    Step("use key"),
    Step("read audit"),
]

LIBRARIES = st.sampled_from([DEFAULT, DEFAULT, "lib"])
MEDIA = st.sampled_from(["m", "n", "o"])
TOKENS = st.sampled_from(["t", "u"])
URLS = st.sampled_from(sorted(PICTURES))
OF_LIBRARY: dict[str, Any] = {"SearchLibName": LIBRARIES}
FACES: dict[str, Any] = {name: st.just(value) for name, value in FACE.items()}
PAGES: dict[str, Any] = {name: st.just(value) for name, value in PAGE.items()}


def ids(kind: str) -> st.SearchStrategy[Id]:
    return st.builds(Id, st.just(kind), st.integers(0, 1), st.booleans())


def steps(
    action: str, optional: dict[str, Any] | None = None, **parameters: Any
) -> st.SearchStrategy[Step]:
    fixed = st.fixed_dictionaries(parameters, optional=optional or {})
    return fixed.map(lambda chosen: Step(action, tuple(chosen.items())))


IN_LIB: dict[str, Any] = {"LibId": ids("LibId"), **FACES}
OF_ENTITY: dict[str, Any] = {**IN_LIB, "EntityId": ids("EntityId")}
FILTERS: dict[str, Any] = {
    "EntityId": ids("EntityId"),
    "Namespace": st.just("press"),
    "CustomFilters": st.sampled_from(['{"strField1":"x"}', '{"intField1":{"gte":2}}']),
    "UtcCreate": st.just('{"gte":1}'),
    "PageNo": st.sampled_from(["1", "2"]),
    "PageSize": st.just("1"),
}
CALLS = [
    steps("CreateSearchLib", {"SearchLibConfig": ids("LibId")}, SearchLibName=st.just("lib")),
    steps("DropSearchLib", **OF_LIBRARY),
    steps("AlterSearchLib", **OF_LIBRARY, SearchLibConfig=ids("LibId")),
    steps("CreateSearchIndex", **OF_LIBRARY, IndexType=st.just("face")),
    steps(
        "AlterSearchIndex",
        **OF_LIBRARY,
        IndexType=st.just("face"),
        IndexStatus=st.sampled_from(["Active", "Deactive"]),
    ),
    st.builds(lambda media_id, url: insert(media_id, url), MEDIA, URLS),
    steps("UpdateMediaToSearchLib", **OF_LIBRARY, MediaId=MEDIA, MsgBody=st.just('{"title":"z"}')),
    steps("DeleteMediaFromSearchLib", **OF_LIBRARY, MediaId=MEDIA),
    steps("SearchIndexJobRerun", **OF_LIBRARY, MediaIds=st.just("m,n,o")),
    steps("SearchMediaByFace", FILTERS, PersonImageUrl=URLS, FaceSearchToken=TOKENS),
    steps("SearchMediaClipByFace", {"EntityId": ids("EntityId")}, MediaId=MEDIA,
          FaceSearchToken=TOKENS),
    steps("CreateRecognitionLib", LibName=st.just("people"), **FACES),
    steps("DeleteRecognitionLib", **IN_LIB),
    steps("CreateRecognitionEntity", **IN_LIB, EntityName=st.just("somebody")),
    steps("DeleteRecognitionEntity", **OF_ENTITY),
    steps("CreateRecognitionSample", **OF_ENTITY, ImageUrl=URLS),
    steps("ListRecognitionSamples", **OF_ENTITY, **PAGES),
    steps("DeleteRecognitionSample", **OF_ENTITY, SampleId=ids("SampleId")),
    *(
        st.builds(Step, st.just(what), number=st.integers(0, 1))
        for what in ("new key", "disable key", "use key", "drop account", "erase person")
    ),
]  # fmt: skip
PROGRAMS = st.lists(st.tuples(st.booleans(), st.one_of(CALLS)), min_size=3, max_size=14)


class Account:
    """Makes calls, and keeps what it was told."""

    def __init__(self, root: facegrep.Engine, name: str) -> None:
        self.root = root
        self.name = name
        self.ids: dict[str, list[str]] = {"LibId": [], "EntityId": [], "SampleId": []}
        self.keys: list[AccessKey] = []
        self.told: list[str] = []
        self._seen: dict[str, str] = {}

    @property
    def engine(self) -> facegrep.Engine:
        return self.root.for_account(self.name)

    def send(self, action: str, parameters: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Call in process."""
        try:
            return 200, Service(self.root, account=self.name).call(action, parameters)
        except IceError as error:
            return error.http_status, dict(error.to_reply())

    def do(self, wanted: Step, other: Account | None) -> None:
        if " " in wanted.action:
            try:
                told = self._operate(wanted)
            except facegrep.FacegrepError as error:
                told = type(error).__name__
            self._tell(json.dumps([wanted.action, told]), {})
            return
        parameters: dict[str, str] = {}
        guesses: dict[str, str] = {}
        for name, value in wanted.parameters:
            if not isinstance(value, Id):
                parameters[name] = PICTURES.get(value, value)
                continue
            known = self.ids if value.own else (other.ids if other is not None else {})
            found = known.get(value.kind, [])[value.number : value.number + 1]
            text = found[0] if found else value.guess
            if not value.own:
                guesses[text] = f"<a guess of {value.kind} {value.number}>"
            parameters[name] = (
                json.dumps({"faceGroupIds": text}) if name == "SearchLibConfig" else text
            )
        status, reply = self.send(wanted.action, parameters)
        assert status < 500, reply
        del reply["RequestId"]
        if wanted.action.startswith("Create"):
            for kind, made in self.ids.items():
                made += [reply[kind]] if kind in reply else []
        self._tell(json.dumps([wanted.action, status, reply]), guesses)
        assert self.engine.wait_for_jobs(timeout_s=60)

    def _operate(self, wanted: Step) -> object:
        keys, key = Keys(self.root), self.keys[wanted.number : wanted.number + 1]
        if wanted.action == "new key":
            self.keys.append(keys.create(self.name, sealed=False))
        elif wanted.action == "drop account":
            self.root.drop_account(self.name)
        elif wanted.action == "erase person":
            who = base64.b64decode(PICTURES["Macron later"].partition(",")[2])
            plan = self.engine.erase_person(DEFAULT, who)
            gone = self.engine.erase_person(DEFAULT, who, dry_run=False)
            return plan.media_ids, gone.media_ids, gone.face_count, len(gone.samples), gone.answers
        elif wanted.action == "read audit":
            entries = [one for one in self.engine.audit() if one.account is not None]
            return [(one.action, one.library, one.media_count, one.face_count) for one in entries]
        elif key and wanted.action == "disable key":
            keys.disable(key[0].id)
        elif key:
            found = keys.find(key[0].id)
            used = self.root.access.use_nonce(key[0].id, "a nonce", 2**50)
            return None if found is None else (found.disabled, found.account == self.name, used)
        return None

    def _tell(self, text: str, guesses: dict[str, str]) -> None:
        for guess, shown in guesses.items():
            text = text.replace(guess, shown)
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<a time>", text).replace(
            self.name, "<me>"
        )
        for id_ in re.findall("[0-9a-f]{32}", text):
            text = text.replace(id_, self._seen.setdefault(id_, f"<id {len(self._seen)}>"))
        self.told.append(text)


class Caller(Account):
    """An account whose calls are signed and sent to a server."""

    address = ""
    signer: AccessKey | None = None

    def send(self, action: str, parameters: dict[str, str]) -> tuple[int, dict[str, Any]]:
        keys = Keys(self.root)
        if self.signer is None or keys.find(self.signer.id) is None:  # it went with the account
            self.signer = keys.create(self.name, sealed=False)
        return sign(self.signer, action, parameters).send(self.address)


_numbers = itertools.count()


def require_apart(
    root: facegrep.Engine, program: list[tuple[bool, Step]], kind: type[Account] = Account
) -> None:
    """Run a program, ``True`` for the second account's steps, with and without the first's."""
    number = next(_numbers)
    alone, beside, other = (kind(root, f"{who}{number}") for who in ("alone", "beside", "other"))
    whole = [*((who, one) for one in FURNITURE for who in (False, True)), *program]
    for is_second, one in whole:
        if is_second:
            beside.do(one, other)
        else:
            other.do(one, beside)
    for is_second, one in whole:
        if is_second:
            alone.do(one, None)
    for one in VIEW:
        beside.do(one, other)
        alone.do(one, None)
    assert beside.told == alone.told


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[facegrep.Engine]:
    """A store whose pictures are analysed by the real networks, each once."""
    pytest.importorskip("onnxruntime", reason="no onnxruntime here: pip install facegrep[cpu]")
    analyze, known = FaceAnalyzer.analyze, {}

    @functools.wraps(analyze)
    def analyze_once(self: FaceAnalyzer, pictures: Any) -> Any:
        found = []
        for pixels in pictures:
            key = np.asarray(pixels).tobytes()
            if key not in known:
                (known[key],) = analyze(self, [pixels])
            found.append(known[key])
        return found

    path = tmp_path_factory.mktemp("apart") / "store"
    with pytest.MonkeyPatch.context() as patch, facegrep.open(path) as engine:
        patch.setattr(FaceAnalyzer, "analyze", analyze_once)
        yield engine


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PROGRAMS)
def test_what_one_account_does_changes_no_answer_of_another(
    root: facegrep.Engine, program: list[tuple[bool, Step]]
) -> None:
    require_apart(root, program)


@pytest.fixture(scope="module")
def server(root: facegrep.Engine) -> Iterator[None]:
    """A server of the same store."""
    with serving(root.path) as (Caller.address, _):
        yield


@pytest.mark.usefixtures("server")
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PROGRAMS)
def test_so_it_is_for_those_who_sign_their_calls(
    root: facegrep.Engine, program: list[tuple[bool, Step]]
) -> None:
    require_apart(root, program, Caller)
