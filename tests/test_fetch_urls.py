"""How a URL of a picture is read, whatever it is."""

from __future__ import annotations

import runpy
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from facegrep.fetch._url import read_url


def test_names_in_other_letters_become_ascii() -> None:
    assert read_url("https://BÜCHER.example/ü?q=ü").host == "xn--bcher-kva.example"
    assert read_url("https://BÜCHER.example/ü?q=ü").target == "/%C3%BC?q=%C3%BC"


FUZZ_TARGET = runpy.run_path(str(Path(__file__).parent / "fuzz" / "fetch_url_fuzz.py"))


@given(st.text("htps:/[]@.%?#a1\u00e9\\ -\n", max_size=40))
def test_the_fuzz_target_finds_nothing(text: str) -> None:
    FUZZ_TARGET["fuzz_one"](f"http://{text}".encode())
    FUZZ_TARGET["fuzz_one"](text.encode())
