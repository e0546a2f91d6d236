"""JSON that every parser reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mindbot_supervisor.observability.strict_json import dumps, loads


def test_numbers_that_are_none_become_null_and_other_things_text() -> None:
    inf, nan = float("inf"), float("nan")
    value = {"a": [inf, -inf, nan, 1e308, 1.5], "b": (1, {"c": nan}), "p": Path("/x")}
    found = json.loads(dumps(value), parse_constant=pytest.fail)
    assert found == {"a": [None, None, None, 1e308, 1.5], "b": [1, {"c": None}], "p": "/x"}


@pytest.mark.parametrize("text", [b"NaN", b"[Infinity]", b'{"a":-Infinity}', b"[" * 100_000, b"", b"\xff", b"{"])
def test_what_is_no_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_plain_json_is_read() -> None:
    assert loads(b'{"a": [1, "\\u00e4", null]}') == {"a": [1, "ä", None]}
