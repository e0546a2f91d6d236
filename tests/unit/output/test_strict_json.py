"""Whatever the value is, what is written is strict JSON."""

import json
import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindbot_config.output import strict_json


def strict(text: str):
    """As a parser reads it that knows no NaN, and as a file in UTF-8 holds it."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text.encode().decode(), parse_constant=refuse)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, float("1e999")])
def test_a_number_that_json_lacks_becomes_null_wherever_it_is(number):
    assert strict(strict_json.dumps({"v": number, "deep": [{"v": number}], "kept": 1.5})) == {
        "v": None,
        "deep": [{"v": None}],
        "kept": 1.5,
    }


def test_a_surrogate_without_its_other_half_survives():
    assert strict(strict_json.dumps({"room\udc80": "\ud800x"})) == {"room\udc80": "\ud800x"}


def test_what_a_terminal_would_obey_is_escaped_and_reads_back_the_same():
    text = "\x1b]0;title\x07\r\x9b2J\u202e\u2066\u200f\x7f\u2028"
    written = strict_json.dumps({text: text})
    assert written.isascii() and written.isprintable()
    assert strict(written) == {text: text}


def test_readable_text_stays_readable():
    assert strict_json.dumps({"said": "grüß Gott, 你好 👋"}) == '{"said": "grüß Gott, 你好 👋"}'


def test_what_is_no_json_value_is_written_as_its_text():
    class Shy:
        def __str__(self):
            raise RuntimeError

    around = {}
    around["self"] = around
    assert strict(strict_json.dumps({"a": {1}, "q": deque([2]), "b": b"x", "c": Shy(), ("k",): 1, 5: 2})) == {
        "a": [1],
        "q": [2],
        "b": "b'x'",
        "c": "<Shy>",
        "('k',)": 1,
        "5": 2,
    }
    assert strict(strict_json.dumps(around))
    assert strict(strict_json.dumps(10**5000)) == "an integer of over 4000 digits"
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert strict(strict_json.dumps(deep))


@pytest.mark.parametrize("text", ["NaN", '{"v": Infinity}', "-Infinity", "[" * 100_000, "", "{", b"\xff"])
def test_what_is_no_strict_json_is_not_read_either(text):
    with pytest.raises(ValueError):
        strict_json.loads(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()) | st.integers(), inner),
)


@given(values)
def test_any_value_is_written_as_strict_json(value):
    strict(strict_json.dumps(value))
    strict(strict_json.dump_bytes(value, compact=True).decode())
