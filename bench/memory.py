"""(d) Memory of everything, idle: `python bench/memory.py [--rounds 10] [--few 2] [--workers 1,2,4,8]`.

PSS of all processes, supervisor and helpers included, once they are quiet; with the end-of-turn model that
livekit-agents loads by default, and without it. Our pool and plain workers, four of each, are measured `--rounds`
times, all the rest, which varies as little, `--few` times.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from contest import agents, command, processes
from contest.contestants import Contestant
from contest.registrations import Registrations, witness
from contest.report import OURS, PLAIN, Report

COMPARED = 4
"""Workers of the pools that the README compares."""
VARIANTS: dict[str, Mapping[str, str]] = {"": {}, ", no model": agents.WITHOUT_MODEL}


def memory(kind: type[Contestant], workers: int, seen: Registrations, environ: Mapping[str, str]) -> float:
    with agents.running(kind, workers, seen, environ) as (contestant, _):
        processes.settled(contestant.token)
        return processes.pss_mb(contestant.tree())


def often(kinds: list[type[Contestant]], size: int) -> list[type[Contestant]]:
    """Those that are compared with so many workers."""
    return [kind for kind in kinds if kind.key in (OURS, PLAIN)] if size == COMPARED else []


def measure(options: argparse.Namespace) -> Report:
    sizes = [int(size) for size in options.workers.split(",")]
    points = [(size, variant) for variant in VARIANTS for size in sizes]
    columns = [f"{size} worker{'s' * (size > 1)}{variant}, MiB" for size, variant in points]
    headline = {
        column: f"(d) memory of all processes, {column}" for column in columns if column.startswith(f"{COMPARED} ")
    }
    report = agents.report("memory", "(d) PSS of all processes, a real agent, idle", columns, headline)
    kinds = agents.contestants(options)
    with witness() as seen:
        agents.warm_up(kinds, seen)
        for number in range(options.rounds):
            for column, (size, variant) in enumerate(points):
                for kind in kinds if number < options.few else often(kinds, size):
                    found = memory(kind, size, seen, VARIANTS[variant])
                    report.add(kind.key, agents.label(kind), found, column)
                    command.say(f"(d) {kind.label}, {columns[column]}: {found:.0f} MiB")
    report.notes += [
        "“No model”: LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE=0 for all.",
        "Idle job processes are as each keeps them by default: LiveKit's command line one for each core and worker, "
        "we one for each core among all workers, at least one each.",
    ]
    return report


if __name__ == "__main__":
    made = command.parser(__doc__, rounds=10)
    made.add_argument("--few", type=int, default=2, help="samples of what is not compared (%(default)s)")
    made.add_argument("--workers", default="1,2,4,8", help="how many, with commas (%(default)s)")
    command.main(measure, made.parse_args())
