"""(f) How soon a worker that hangs is noticed: `python bench/notice_hang.py [--rounds 10]`.

Trivial C workers with a heartbeat a second; one after another is stopped (SIGSTOP) or loops without end. Measured until
the log says that it is being killed. Under each peer one worker is stopped for as long as all that takes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import tempfile
import time
from pathlib import Path

from contest import command, processes, programs
from contest.circus import Circus
from contest.contestants import Contestant
from contest.ours import Ours
from contest.report import Report
from contest.supervisord import Supervisord

HUNG_AFTER = 10.0
TITLE = "(f) a worker hangs → it is noticed and killed"
STOPPED = "stopped (SIGSTOP), s"
HANGS = {STOPPED: signal.SIGSTOP, "endless loop, s": signal.SIGRTMIN}
SETTLE = 4.0


def noticed(contestant: Ours, victim: int, hang: signal.Signals) -> float:
    daemon, seen = contestant.daemon, len(contestant.daemon.records)
    began = time.monotonic()
    os.kill(victim, hang)
    daemon.wait("worker.killing", pid=victim, after=seen, timeout=HUNG_AFTER * 6)
    return time.monotonic() - began


def unnoticed(victim: int, since: float) -> str:
    """In words, or an error if the peer did something after all."""
    if processes.state(victim) != "T":
        raise RuntimeError(f"the stopped worker {victim} is not stopped any more: state {processes.state(victim)!r}")
    return f"not noticed (watched for {time.monotonic() - since:.0f} s)"


def measure(options: argparse.Namespace) -> Report:
    report = Report("notice_hang", TITLE, list(HANGS), base="", headline={STOPPED: f"{TITLE}, s"})
    kinds: list[type[Contestant]] = [kind for kind in (Supervisord, Circus) if command.wanted(options, kind.key)]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:

        def started(kind: type[Contestant], count: int, **settings: object) -> Contestant:
            program = programs.worker(Path(folder) / kind.key)
            return stack.enter_context(kind(program, count, **settings))

        ours = started(Ours, options.rounds * len(HANGS) + 2, WORKER__HEARTBEAT="required", POOL__MAX_STARTING=8)
        assert isinstance(ours, Ours)
        ours.daemon.ready(ours.count)
        others = [started(kind, 2) for kind in kinds]
        time.sleep(SETTLE)
        began, stopped = time.monotonic(), [other.workers()[0] for other in others]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        victims = iter(ours.workers())
        for number in range(options.rounds):
            for column, hang in enumerate(HANGS.values()):
                report.add(Ours.key, Ours.label, noticed(ours, next(victims), hang), column)
            command.say(f"(f) round {number + 1} of {options.rounds}")
        for other, pid in zip(others, stopped, strict=True):
            report.row(other.key, other.label).cells = [unnoticed(pid, began), "no heartbeats: cannot"]
    report.notes += [
        f"limits.hung_after is {HUNG_AFTER:g} s, its default, from the last heartbeat on; one is sent each second.",
        "supervisord and circus see a worker end, and nothing else.",
    ]
    return report


if __name__ == "__main__":
    command.main(measure, command.parser(__doc__, rounds=10).parse_args())
