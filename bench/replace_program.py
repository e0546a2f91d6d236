"""(a) From kill -9 to the replacement's first instruction: `python bench/replace_program.py [--rounds 12]`.

A trivial C program, which notes the time in its first line. Each contestant runs as many of them as there are rounds,
and each of these is killed once: for every slot it is the first crash.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import tempfile
import time
from pathlib import Path

from contest import command, processes, programs
from contest.circus import Circus, FastCircus
from contest.contestants import Bare, Contestant
from contest.ours import Ours
from contest.report import PLAIN, Report
from contest.supervisord import Supervisord

TITLE = "(a) kill -9 → first instruction of the replacement, a C program that does nothing"
COLUMN = "replaced after, ms"
SETTLE = 3.0
"""Seconds from the start to the first kill: supervisord counts a death within its startsecs (1) as a failed start."""
PAUSE = 1.0
"""Up to so many seconds between two kills, at random: supervisord acts once a second."""


class Starts:
    """The first instructions of one contestant's workers, as they wrote them down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[int, int]:
        """Pid to nanoseconds on the monotonic clock."""
        if not self.path.exists():
            return {}
        return {int(pid): int(at) for pid, at in map(str.split, self.path.read_text().splitlines())}

    def wait(self, count: int) -> None:
        """Until so many have started."""
        processes.until(lambda: len(self.read()) >= count, 60, f"{count} starts in {self.path.name}")

    def another(self, known: set[int]) -> int:
        """When the first process that was not known began."""

        def fresh() -> list[int]:
            return [at for pid, at in self.read().items() if pid not in known]

        found: list[int] = processes.until(fresh, 30, f"a replacement in {self.path.name}")
        return found[0]


def replaced(victim: int, starts: Starts) -> float:
    """Milliseconds."""
    known = set(starts.read())
    killed = time.monotonic_ns()
    os.kill(victim, signal.SIGKILL)
    return (starts.another(known) - killed) / 1e6


def measure(options: argparse.Namespace) -> Report:
    report = Report("replace_program", TITLE, [COLUMN], headline={COLUMN: f"{TITLE}, ms"})
    kinds: list[type[Contestant]] = [Ours, Bare, Supervisord, Circus, FastCircus]
    kinds = [kind for kind in kinds if command.wanted(options, kind.key)]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        running = []
        for kind in kinds:
            starts = Starts(Path(folder) / kind.key)
            contestant = stack.enter_context(kind(programs.worker(starts.path), options.rounds))
            running.append((contestant, starts))
        for _, starts in running:
            starts.wait(options.rounds)
        time.sleep(SETTLE)
        victims = [contestant.workers() for contestant, _ in running]
        for number in range(options.rounds):
            for (contestant, starts), pids in zip(running, victims, strict=True):
                time.sleep(random.uniform(0.2, PAUSE))
                label = "bare fork + exec" if contestant.key == PLAIN else contestant.label
                report.add(contestant.key, label, replaced(pids[number], starts))
            command.say(f"(a) round {number + 1} of {options.rounds}")
    report.notes += [
        f"{options.rounds} workers each; every worker is killed once, so it is its slot's first crash: our back-off "
        "begins with the second. All settings at their defaults.",
    ]
    return report


if __name__ == "__main__":
    command.main(measure, command.parser(__doc__, rounds=12).parse_args())
