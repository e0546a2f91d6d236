"""Runs the command line for a test, as people do: with an environment of its own, and streams that may be broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

OURS = ("MINDBOT_", "LIVEKIT_", "OPENAI_", "DEEPGRAM_", "NO_COLOR", "FORCE_COLOR")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
PROGRAM = [sys.executable, "-m", "mindbot_supervisor"]
DEADLINE = 120.0


def run(
    folder: Path, *arguments: str, environ: dict[str, str] | None = None, shell: str | None = None, **streams: object
) -> subprocess.CompletedProcess[str]:
    """`shell` is a line of sh in which "$@" stands for the command, to redirect what Python cannot."""
    command = [*PROGRAM, *arguments]
    if shell is not None:
        command = ["sh", "-c", shell, "sh", *command]
    environ = {**CLEAN, "MINDBOT_SOCKET": str(folder / "s.sock"), "MINDBOT_STATE_DIR": str(folder / "state")} | (
        environ or {}
    )
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **streams}
    return subprocess.run(command, cwd=folder, env=environ, text=True, timeout=DEADLINE, check=False, **given)


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """The whole of stderr is one plain line with these words."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("mindbot-supervisor: error: "), done.stderr
    assert "Traceback" not in (done.stdout or "") + done.stderr
    for word in words:
        assert word in done.stderr


def controls(text: str) -> set[str]:
    """The characters in which a terminal would see a command, or text turned round."""
    bad = {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), *"\u200e\u200f\u061c\u2028\u2029"}
    bad |= {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), *map(chr, range(0xD800, 0xE000))}
    return bad & set(text) - {"\n"}
