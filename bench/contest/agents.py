"""Contestants that run the real agent, and how to know that they are up."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator, Mapping

from contest import command, ours, processes, programs
from contest.circus import Circus
from contest.contestants import Bare, Contestant
from contest.registrations import Registrations
from contest.report import OURS, Report
from contest.supervisord import Supervisord

START = 300.0
"""Seconds within which all workers must have registered: the slowest contestant with eight workers, with room."""
WITHOUT_MODEL = {"LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0"}
NOTES = [
    "The agent is bench/contest/programs/agent.py (Deepgram, OpenAI, Silero), the same for all; the others run "
    "`python agent.py start`, we run `--agent agent:server`.",
    "Registered: livekit-server wrote “worker registered”.",
]


def contestants(options: argparse.Namespace) -> list[type[Contestant]]:
    every: list[type[Contestant]] = [*ours.contestants(), Bare, Supervisord, Circus]
    return [each for each in every if command.wanted(options, each.key)]


def label(kind: type[Contestant]) -> str:
    if kind.key == OURS and not ours.launchers():
        return f"{kind.label} (this version has no template launcher)"
    return "plain `python agent.py start`" if kind is Bare else kind.label


@contextlib.contextmanager
def running(
    kind: type[Contestant], workers: int, seen: Registrations, environ: Mapping[str, str] | None = None
) -> Iterator[tuple[Contestant, list[float]]]:
    """The contestant with all its workers registered, and the seconds after which each of them was."""
    before, began = seen.count(), time.monotonic()
    program = programs.agent({**seen.environ, **(environ or {})})
    with kind(program, workers) as contestant:
        seen.wait(before + workers, START)
        yield contestant, [at - began for at in seen.at[before : before + workers]]


def warm_up(kinds: list[type[Contestant]], seen: Registrations) -> None:
    """Each once, uncounted: the files of Python and LiveKit are in the page cache afterwards, for all alike."""
    for kind in kinds:
        with running(kind, 1, seen) as (contestant, _):
            processes.settled(contestant.token)


def report(name: str, title: str, columns: list[str], headline: dict[str, str]) -> Report:
    return Report(name, title, columns, headline=headline, notes=list(NOTES))
