"""(b) From kill -9 to the replacement registered with livekit-server: `python bench/replace_agent.py [--rounds 12]`.

A real agent, 4 workers. The contestants take turns; in its turn one starts, settles, and each of its workers is killed
once, all being quiet again before the next.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import time

from contest import agents, command, processes
from contest.contestants import Contestant
from contest.registrations import Registrations, witness
from contest.report import Report

WORKERS = 4
TITLE = "(b) kill -9 → the replacement is registered, a real agent, 4 workers"
COLUMN = "registered after, s"


def turn(kind: type[Contestant], seen: Registrations, kills: int, report: Report) -> None:
    with agents.running(kind, WORKERS, seen) as (contestant, _):
        for victim in contestant.workers()[:kills]:
            processes.settled(contestant.token)
            before, killed = seen.count(), time.monotonic()
            os.kill(victim, signal.SIGKILL)
            took = seen.wait(before + 1, 120) - killed
            report.add(kind.key, agents.label(kind), took)
            command.say(f"(b) {kind.label}: {took:.2f} s")


def measure(options: argparse.Namespace) -> Report:
    report = agents.report("replace_agent", TITLE, [COLUMN], {COLUMN: f"{TITLE}, s"})
    kinds = agents.contestants(options)
    with witness() as seen:
        agents.warm_up(kinds, seen)
        for number in range(math.ceil(options.rounds / WORKERS)):
            for kind in kinds:
                turn(kind, seen, min(WORKERS, options.rounds - number * WORKERS), report)
    report.notes.append("Each worker is killed once in a turn, when the whole contestant is quiet.")
    return report


if __name__ == "__main__":
    command.main(measure, command.parser(__doc__, rounds=12).parse_args())
