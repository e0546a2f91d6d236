"""Text of others does nothing to the terminal that shows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindbot_config.output.printable import printable, printable_lines, printable_values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("over\rwritten", r"over\rwritten"),
        ("two\nlines", r"two\nlines"),
        ("a\tcolumn", r"a\tcolumn"),
        ("nul\x00del\x7f", r"nul\x00del\x7f"),
        ("\x9b31mred", r"\x9b31mred"),
        ("\x85next line", r"\x85next line"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u202a\u202b\u202c\u202d", r"\u202a\u202b\u202c\u202d"),
        ("\u2066\u2067\u2068\u2069", r"\u2066\u2067\u2068\u2069"),
        ("\u200e\u200f\u061c", r"\u200e\u200f\u061c"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\ud800 and \udfff", r"\ud800 and \udfff"),
        ("soft\u00adhyphen", r"soft\xadhyphen"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_a_character_that_a_terminal_acts_on_is_spelled_out(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize(
    "text", ["", "plain room-1", "Grüße, Ærø, 東京, שלום, سلام", "👩‍👧 é क्ष", r"C:\new\x1b", "a' b\""]
)
def test_ordinary_text_of_every_language_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_what_is_no_text_is_shown_as_its_text() -> None:
    assert printable(17) == "17"


def test_a_whole_answer_can_be_cleaned_keys_included() -> None:
    assert printable_values({"\x1b": [1, None, ("\r", {"a": "\x9b"})]}) == {r"\x1b": [1, None, [r"\r", {"a": r"\x9b"}]]}


def test_text_of_several_lines_keeps_its_lines_and_nothing_else() -> None:
    assert printable_lines("File x\r\n\tcall()\n\x1b[2J over\rthis") == ["File x", "    call()", r"\x1b[2J over\rthis"]


@given(st.text(st.characters(codec=None)))
def test_whatever_the_text_it_can_be_written_is_one_line_and_is_not_escaped_twice(text: str) -> None:
    safe = printable(text)
    safe.encode()
    assert len(safe.splitlines()) <= 1
    assert all(character.isprintable() or character.isspace() or ord(character) > 0xA0 for character in safe)
    assert printable(safe) == safe
