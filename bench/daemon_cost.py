"""(e) What the supervisor itself costs: `python bench/daemon_cost.py [--rounds 3] [--workers 4,100,1000]`.

CPU and memory of the supervisor and its helpers, without the workers, each watching the memory of its workers: we as
always, with a heartbeat of each worker every second besides; supervisord by superlance's memmon on TICK_60, circus by
its resource_watcher at its default of once a minute. A round is one minute, so that it holds one look of each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from contest import command, processes, programs
from contest.circus import Circus
from contest.contestants import Contestant
from contest.ours import Ours
from contest.programs import Program
from contest.report import CIRCUS, OURS, SUPERVISORD, Report
from contest.supervisord import Supervisord

LIMIT_MB = 300
SETTLE = 10.0
MAKERS: dict[str, tuple[str, Callable[[Program, int], Contestant]]] = {
    OURS: (Ours.label, lambda program, count: Ours(program, count, POOL__MAX_STARTING=8)),
    SUPERVISORD: (
        f"{Supervisord.label} + superlance memmon",
        lambda program, count: Supervisord(program, count, limit_mb=LIMIT_MB),
    ),
    CIRCUS: (f"{Circus.label} + resource_watcher", lambda program, count: Circus(program, count, limit_mb=LIMIT_MB)),
}


def measure(options: argparse.Namespace) -> Report:
    sizes = [int(size) for size in options.workers.split(",")]
    columns = [f"{what} with {size} workers" for what in ("CPU", "PSS") for size in sizes]
    title = "(e) what the supervisor itself costs, memory monitoring on, trivial C program"
    headline = {column: f"(e) the supervisor's own {column}" for column in columns}
    report = Report("daemon_cost", title, "% of a core or MiB", columns, base=OURS, headline=headline)
    for number, size in enumerate(sizes):
        for key, (label, make) in MAKERS.items():
            if command.wanted(options, key):
                for percent, pss in minutes(make, size, options):
                    report.add(key, label, percent, number)
                    report.add(key, label, pss, number + len(sizes))
                    command.say(f"(e) {label}, {size} workers: {percent:.2f} %, {pss:.0f} MiB")
    report.notes += [
        f"A sample is {options.seconds:g} s. Helper processes count, memmon's ps too; workers do not.",
        "Our workers send a heartbeat a second and are sampled every second; max_starting = 8 to fill the pool sooner.",
    ]
    return report


def minutes(
    make: Callable[[Program, int], Contestant], size: int, options: argparse.Namespace
) -> list[tuple[float, float]]:
    """CPU in percent of a core, and PSS in MiB, for each round."""
    with tempfile.TemporaryDirectory() as folder:
        starts = Path(folder) / "starts"
        with make(programs.worker(starts), size) as contestant:
            processes.until(lambda: starts.exists() and lines(starts) >= size, 60 + size, f"{size} workers", 0.5)
            time.sleep(SETTLE)
            return [one(contestant, options.seconds) for _ in range(options.rounds)]


def one(contestant: Contestant, seconds: float) -> tuple[float, float]:
    keepers = contestant.keepers()
    before, at = processes.cpu_seconds(keepers, children=True), time.monotonic()
    time.sleep(seconds)
    used = processes.cpu_seconds(keepers, children=True) - before
    return used / (time.monotonic() - at) * 100, processes.pss_mb(contestant.keepers())


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


if __name__ == "__main__":
    made = command.parser(__doc__, rounds=3)
    made.add_argument("--workers", default="4,100,1000", help="how many, with commas (%(default)s)")
    made.add_argument("--seconds", type=float, default=60.0, help="of one round (%(default)s)")
    command.main(measure, made.parse_args())
