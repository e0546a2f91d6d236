"""Why a program cannot be run is said in words, and whatever the kernel would run is not refused."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from mindbot_supervisor.processes.launching import executable_check

PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(executable_check, "BINFMT", tmp_path / "no-other-formats")
    return tmp_path


def program(text: str | bytes, mode: int = 0o755, name: str = "p") -> str:
    path = Path(name)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return f"./{name}"


def elf(machine: int = 62, loader: bytes = b"/lib64/ld-linux-x86-64.so.2") -> bytes:
    """A program with one header, which names a loader."""
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    place = 64 + 56
    return identity + header + struct.pack("<IIQQQQQQ", 3, 4, place, 0, 0, len(loader) + 1, 0, 1) + loader + b"\0"


def runs(command: list[str], environ: dict[str, str]) -> bool:
    try:
        subprocess.run(command, env=environ, capture_output=True, timeout=20, check=False, stdin=subprocess.DEVNULL)
    except OSError:
        return False
    return True


REFUSED = {
    "missing": (lambda: "./nothing", "there is no ./nothing in "),
    "missing, absolute": (lambda: "/nowhere/at/all", "there is no /nowhere/at/all"),
    "missing on PATH": (lambda: "no-such-program", "no program 'no-such-program' on PATH (/usr/local/bin:"),
    "below a file": (lambda: program("") + "/x", "there is no ./p/x"),
    "not executable": (lambda: program("#!/bin/sh\n", 0o644), "p is not executable"),
    "a directory": (lambda: "/usr", "/usr is a directory"),
    "a device": (lambda: os.devnull, "no regular file"),
    "empty": (lambda: program(""), "neither a program nor a script"),
    "no first line": (lambda: program("echo hello\n"), "neither a program nor a script"),
    "crlf": (lambda: program("#!/bin/sh\r\necho hello\r\n"), "Windows line ends"),
    "crlf and env": (lambda: program("#!/usr/bin/env python3\r\nprint()\r\n"), "Windows line ends"),
    "no interpreter": (lambda: program("#!/opt/none/python\n"), "interpreter /opt/none/python does not exist"),
    "interpreter not executable": (lambda: program("#!/etc/passwd\n"), "/etc/passwd is not executable"),
    "interpreter a directory": (lambda: program("#! /usr\n"), "/usr is a directory"),
    "nothing after #!": (lambda: program("#!\n"), "names no interpreter"),
    "env without its program": (lambda: program("#!/usr/bin/env no-such-python\n"), "'no-such-python' is not on PATH"),
    "env -S without its program": (lambda: program("#!/usr/bin/env -S A=b no-such -u\n"), "'no-such' is not on PATH"),
    "env with two words": (lambda: program("#!/usr/bin/env sh -e\n"), "'sh -e' is not on PATH"),
    "script of a broken script": (
        lambda: program(f"#!{Path.cwd()}/inner\n") if program("#!/opt/none\n", name="inner") else "",
        "/opt/none does not exist",
    ),
    "another machine": (lambda: program(elf(machine=0x99)), "another kind of machine"),
    "loader is missing": (lambda: program(elf(loader=b"/lib/ld-none.so.1")), "loader /lib/ld-none.so.1 does not exist"),
    "torn program": (lambda: program(elf()[:30]), "the beginning of a program"),
    "NUL": (lambda: "a\0b", "NUL"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_run_is_told_in_one_line(kind):
    make, words = REFUSED[kind]
    command = [make()]
    why = executable_check.problem(command, PATH)
    assert words in why and "\n" not in why
    if kind != "NUL" and "env" not in kind:  # env itself is run, and does not find the rest
        assert not runs(command, PATH), "the kernel is of the same opinion"


RUN = {
    "on PATH": lambda: ["true"],
    "absolute": lambda: ["/bin/true"],
    "python": lambda: [sys.executable, "-c", ""],
    "script": lambda: [program("#!/bin/sh\nexit 0\n")],
    "script with an argument": lambda: [program("#!/bin/sh -e\nexit 0\n")],
    "blanks": lambda: [program("#! \t/bin/sh \t -e \nexit 0\n")],
    "env": lambda: [program("#!/usr/bin/env sh\nexit 0\n")],
    "env -S": lambda: [program("#!/usr/bin/env -S A=b sh -e\nexit 0\n")],
    "no line end": lambda: [program("#!/bin/true")],
    "interpreted by a script": lambda: [program(f"#!{program_path()}\n", name="outer")],
    "crlf further down": lambda: [program("#!/bin/sh\nexit 0\r\n")],
}


def program_path() -> Path:
    return Path(program("#!/bin/sh\nexit 0\n", name="inner")).resolve()


@pytest.mark.parametrize("kind", RUN)
def test_what_can_be_run_is_not_refused(kind):
    command = RUN[kind]()
    assert executable_check.problem(command, PATH) == ""
    assert runs(command, PATH)


def test_a_program_that_may_be_run_and_not_read_is_not_refused(tmp_path):
    shutil.copy("/bin/true", "secret")
    Path("secret").chmod(0o111)
    assert executable_check.problem(["./secret"], PATH) == ""


def test_the_first_on_path_that_can_be_run_counts(tmp_path):
    for name in ("one", "two"):
        Path(name).mkdir()
    program("#!/bin/sh\n", 0o644, "one/tool")
    environ = {"PATH": f"{tmp_path}/one:{tmp_path}/two:/none"}
    assert "not executable" in executable_check.problem(["tool"], environ)
    program("#!/bin/sh\nexit 0\n", name="two/tool")
    assert executable_check.problem(["tool"], environ) == ""
    assert "no program 'ls'" in executable_check.problem(["ls"], environ), "the workers' PATH counts, not the daemon's"


def test_where_the_kernel_knows_further_formats_it_decides(tmp_path, monkeypatch):
    formats = tmp_path / "binfmt"
    formats.mkdir()
    (formats / "status").touch()
    monkeypatch.setattr(executable_check, "BINFMT", formats)
    command = [program(b"MZ something for another system")]
    assert executable_check.problem(command, PATH)
    (formats / "DOSWin").touch()
    assert executable_check.problem(command, PATH) == ""
