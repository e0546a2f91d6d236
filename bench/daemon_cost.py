"""(e) What the supervisor itself costs: `python bench/daemon_cost.py [--rounds 3] [--workers 4,100,1000]`.

CPU and memory of the supervisor and its helpers, without the workers, each watching the memory of its workers: we as
always, every second, with a heartbeat of each worker besides; supervisord by superlance's memmon, circus by its
resource_watcher, once a minute (as documented; its default) and every 5 s (the shortest that memmon has). A round is
one minute, so that it holds one look at least.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from contest import command, processes, programs
from contest.contestants import Contestant
from contest.monitored import PEERS, Maker
from contest.ours import Ours
from contest.report import OURS, Report

TITLE = "(e) what the supervisor itself costs with its memory monitoring on, C programs that do nothing"
COSTS = {"CPU": "% of a core", "PSS": "MiB"}
SETTLE = 10.0
MAKERS: dict[str, tuple[str, Maker]] = {
    OURS: (Ours.label, lambda program, count: Ours(program, count, POOL__MAX_STARTING=8)),
    **PEERS,
}


def measure(options: argparse.Namespace) -> Report:
    sizes = [int(size) for size in options.workers.split(",")]
    columns = [f"{what} with {size:,} workers, {unit}" for what, unit in COSTS.items() for size in sizes]
    headline = {column: f"(e) the supervisor's own {column}" for column in columns}
    report = Report("daemon_cost", TITLE, columns, base=OURS, headline=headline)
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


def minutes(make: Maker, size: int, options: argparse.Namespace) -> list[tuple[float, float]]:
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
