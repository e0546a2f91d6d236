"""(c) From the start to all 4 workers registered with livekit-server: `python bench/start.py [--rounds 10]`."""

from __future__ import annotations

import argparse

from contest import agents, command
from contest.registrations import witness
from contest.report import Report

WORKERS = 4
TITLE = "(c) start → all registered, a real agent, 4 workers"
FIRST, ALL = "first registered after, s", "all registered after, s"


def measure(options: argparse.Namespace) -> Report:
    report = agents.report("start", TITLE, [FIRST, ALL], {ALL: f"{TITLE}, s"})
    kinds = agents.contestants(options)
    with witness() as seen:
        agents.warm_up(kinds, seen)
        for _ in range(options.rounds):
            for kind in kinds:
                with agents.running(kind, WORKERS, seen) as (_, times):
                    report.add(kind.key, agents.label(kind), times[0])
                    report.add(kind.key, agents.label(kind), times[-1], column=1)
                    command.say(f"(c) {kind.label}: {times[0]:.1f} s, {times[-1]:.1f} s")
    return report


if __name__ == "__main__":
    command.main(measure, command.parser(__doc__, rounds=10).parse_args())
