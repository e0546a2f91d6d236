"""`profile`, with tools that are small programs of the test."""

import sysconfig

import pytest

from mindbot_supervisor.cli.commands import profile
from mindbot_supervisor.errors import Refused

STATUS = {"workers": [{"worker": "0.1", "slot": 0, "pid": 11}, {"worker": "0.2", "slot": 0, "pid": 12}]}
STATUS["workers"].append({"worker": "1.4", "slot": 1, "pid": None})


def tool(folder, script: str) -> str:
    path = folder / "tool"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("name", ["py-spy", "memray"])
def test_a_missing_tool_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path, name):
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match=f"{name} is not installed; install it with: pip install {name}") as refused:
        profile.find(name)
    assert refused.value.code == 1


@pytest.mark.parametrize(("name", "pid"), [("0.1", 11), ("0.2", 12), ("0", 12)])
def test_a_slot_means_its_newest_running_worker(name, pid):
    assert profile._row(STATUS, name)["pid"] == pid


@pytest.mark.parametrize("name", ["1", "1.4", "9", ""])
def test_a_worker_that_does_not_run_is_refused_with_the_names_of_those_that_do(name):
    with pytest.raises(Refused, match=r"there are 0\.1, 0\.2$"):
        profile._row(STATUS, name)


def test_samples_are_counted_by_the_function_on_top(tmp_path):
    script = 'for last; do :; done; printf "a;b 3\\na;c 1\\nb 2\\n" > "$last"'
    assert profile._cpu(tool(tmp_path, script), 1, 1, tmp_path / "out") == [" 83.3%  b", " 16.7%  c"]


def test_a_worker_that_does_nothing_is_told_as_such(tmp_path):
    assert profile._cpu(tool(tmp_path, "exit 0"), 1, 1, tmp_path / "out") == ["it did nothing: no thread was on a CPU"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo one; echo permission denied >&2; exit 1", "tool: permission denied"),
        ("exit 3", "tool: exit code 3"),
        ("echo \"ModuleNotFoundError(No module named 'memray')\" >&2; exit 1", "pip install memray"),
    ],
)
def test_a_tool_that_fails_is_quoted_in_one_line(tmp_path, script, words):
    with pytest.raises(Refused, match=words):
        profile._run([tool(tmp_path, script)], 1)
