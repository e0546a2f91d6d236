"""Env files as people write them: what is taken, which lines are wrong and how, and what is looked at twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindbot_config.errors import ConfigError
from mindbot_config.files.env_file import PROBLEMS_MAX, read_env_file
from mindbot_config.load import load

LINE = "must be NAME=value, a comment or empty"


def variables(content: str | bytes) -> dict[str, str]:
    file = Path("e")
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(0o600)
    return read_env_file(file, "env file e").variables


def problems(content: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        variables(content)
    assert all(problem.startswith("env file e, ") for problem in caught.value.problems[:PROBLEMS_MAX])
    return [problem.removeprefix("env file e, ") for problem in caught.value.problems]


def warnings(content: str, mode: int = 0o600) -> tuple[str, ...]:
    variables(content)
    Path("e").chmod(mode)
    return tuple(each.removeprefix("env file e") for each in read_env_file(Path("e"), "env file e").warnings)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("export A=1\nexport  B='2'\n", {"A": "1", "B": "2"}),
        (b"\xef\xbb\xbfA=1\nB=2", {"A": "1", "B": "2"}),
        ("A=1\r\nB='2'\r\n\r\n# C\r\nD=\r\n", {"A": "1", "B": "2", "D": ""}),
        ("A=1\rB=2\r", {"A": "1", "B": "2"}),
        ('A="line 1\nline 2"\nB=3', {"A": "line 1\nline 2", "B": "3"}),
        ("A=$HOME/${B}\n", {"A": "$HOME/${B}"}),
        ("A = 1  # why\nB=x#y\n", {"A": "1", "B": "x#y"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("", {}),
        ("\n\n  # nothing\n", {}),
    ],
    ids=repr,
)
def test_what_is_taken(content: str | bytes, found: dict[str, str]) -> None:
    assert variables(content) == found


def test_every_bad_line_is_told_with_its_number_and_what_is_wrong() -> None:
    text = 'export OPENAI_API_KEY="sk-s3cret\nA=1\nB C=2\nD="x" y\n\nno-sign\nE=\'s3cret\nF="fine"\nG="\n'
    found = problems(text)
    assert found == [
        'line 1: the quote " is not closed',
        f"line 3: {LINE}",
        'line 4: there is text after the closing quote "',
        f"line 6: {LINE}",
        "line 7: the quote ' is not closed",
        'line 9: the quote " is not closed',
    ]
    assert "s3cret" not in "".join(found)


def test_line_numbers_hold_with_other_line_ends_and_a_byte_order_mark() -> None:
    assert problems("\ufeffA=1\r\n\r\nB C\r\n\r\nD='x\r\n") == [f"line 3: {LINE}", "line 5: the quote ' is not closed"]


def test_of_many_bad_lines_the_first_are_told_and_the_others_counted() -> None:
    found = problems("".join(f"{number} is bad\n" for number in range(1, 5001)))
    assert len(found) == PROBLEMS_MAX + 1
    assert found[PROBLEMS_MAX - 1 :] == [
        f"line {PROBLEMS_MAX}: {LINE}",
        f"env file e: and {5000 - PROBLEMS_MAX} more lines",
    ]


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666, 0o660, 0o602])
def test_a_file_with_secrets_that_others_may_read_or_write_is_warned_of(mode: int) -> None:
    (only,) = warnings("OPENAI_API_KEY=sk-0123456789\n", mode)
    assert only.startswith(": holds secrets and can be ")
    assert only.endswith(f"(mode {mode:04o}); make it mode 0600")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o440])
def test_a_file_that_only_its_owner_and_group_may_read_is_not_warned_of(mode: int) -> None:
    assert warnings("DATABASE_URL=postgres://app:hunter2@db/x\n", mode) == ()


def test_a_file_without_secrets_may_be_read_by_everybody() -> None:
    assert warnings("GREETING=hello\nDATABASE_URL=postgres://db/x\n", 0o644) == ()
    assert warnings("DATABASE_URL=postgres://app:hunter2@db/x\n", 0o644) != ()


@pytest.mark.parametrize(
    "value",
    ["changeme", "your-key-here", "<your key>", "xxxx", "sk-xxxxxxxx", "CHANGE_ME", "sk-your-openai-key", "..."],
)
def test_a_placeholder_is_warned_of(value: str) -> None:
    assert warnings(f"A=1\nOPENAI_API_KEY={value}\n") == (
        ", line 2: OPENAI_API_KEY still has a placeholder for its value",
    )


def test_what_is_no_placeholder_is_not_warned_of() -> None:
    assert (
        warnings("OPENAI_API_KEY=sk-proj-0123456789abcdef\nGREETING=changeme\nLIVEKIT_URL=wss://a.livekit.cloud\n")
        == ()
    )
    assert warnings("LIVEKIT_URL=wss://your-project.livekit.cloud\n") != ()


def test_a_quote_that_swallows_lines_is_warned_of() -> None:
    (only,) = warnings('A="one\nB=2\nC=3"\n')
    assert only == ", line 1: the value of A goes on over lines that look like NAME=value; is a quote missing?"
    assert warnings('KEY_FILE="-----BEGIN X-----\nMIIB=\n-----END X-----"\n') == ()


def test_warnings_travel_with_the_settings() -> None:
    Path("e").write_text("OPENAI_API_KEY=changeme-please\n")
    Path("e").chmod(0o644)
    loaded = load({"env": {"file": "e"}}, None, {})
    assert [each.partition(":")[0] for each in loaded.warnings] == ["env file e", "env file e, line 1"]
    assert load({}, None, {}).warnings == ()
