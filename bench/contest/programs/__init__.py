"""The programs that the contestants run: compiled once, or copied."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contest import TOOLS
from contest.command import Skipped

HERE = Path(__file__).parent
BUILT = TOOLS / "bench" / "bin"


@dataclass(frozen=True, slots=True)
class Program:
    """What each slot runs: the words, and for us the flags that mean the same."""

    words: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    agent: str = ""
    """MODULE:ATTR, where it is an agent that we run with `--agent`."""


def compiled(name: str) -> Path:
    """The program made from NAME.c. Raises Skipped where there is no C compiler."""
    source, built = HERE / f"{name}.c", BUILT / name
    if built.exists() and built.stat().st_mtime > source.stat().st_mtime:
        return built
    compiler = shutil.which("cc")
    if compiler is None:
        raise Skipped("no C compiler (cc): the trivial worker is a C program")
    BUILT.mkdir(parents=True, exist_ok=True)
    subprocess.run([compiler, "-O2", "-Wall", "-o", built, source], check=True)
    return built


def worker(starts: Path, *words: object) -> Program:
    """The trivial worker, which writes its first instruction's time to `starts`."""
    return Program((str(compiled("worker")), str(starts), *map(str, words)))


def agent(environ: Mapping[str, str]) -> Program:
    """The agent file. It is run by its name, as on any host: the contestants copy it into their directory."""
    return Program((sys.executable, "agent.py", "start"), environ, agent="agent:server")


def place(program: Program, folder: Path) -> None:
    if program.agent:
        shutil.copy(HERE / "agent.py", folder)
