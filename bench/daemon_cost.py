"""(e) What the supervisor itself costs: `python bench/daemon_cost.py [--rounds 10] [--workers 4,100,1000]`.

CPU and memory of the supervisor and its helpers, without the workers, each watching the memory of its workers: we as
always, every second, with a heartbeat of each worker besides; supervisord by superlance's memmon, circus by its
resource_watcher, once a minute (as documented; its default) and every 5 s (the shortest that memmon has). A sample
holds one look at least; of those that take a minute there are fewer.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from contest import command, processes, programs
from contest.contestants import Contestant
from contest.monitored import PEERS, Monitored
from contest.ours import Ours
from contest.report import OURS, Report

TITLE = "(e) what the supervisor itself costs with its memory monitoring on, C programs that do nothing"
COSTS = {"CPU": "% of a core", "PSS": "MiB"}
SETTLE = 10.0
ALL: dict[str, Monitored] = {
    OURS: Monitored(Ours.label, lambda program, count: Ours(program, count, POOL__MAX_STARTING=8), 1),
    **PEERS,
}


def measure(options: argparse.Namespace) -> Report:
    sizes = [int(size) for size in options.workers.split(",")]
    columns = [f"{what} with {size:,} workers, {unit}" for what, unit in COSTS.items() for size in sizes]
    headline = {column: f"(e) the supervisor's own {column}" for column in columns}
    report = Report("daemon_cost", TITLE, columns, base=OURS, headline=headline)
    for number, size in enumerate(sizes):
        for key, each in ALL.items():
            if command.wanted(options, key):
                for percent, pss in samples(each, size, options):
                    report.add(key, each.label, percent, number)
                    report.add(key, each.label, pss, number + len(sizes))
                    command.say(f"(e) {each.label}, {size} workers: {percent:.2f} %, {pss:.0f} MiB")
    report.notes += [
        f"A sample is {options.seconds:g} s, or one look where that is longer. Helpers count, memmon's ps too; "
        "workers do not.",
        "Our workers send a heartbeat a second and are sampled every second; max_starting = 8 to fill the pool sooner.",
    ]
    return report


def samples(each: Monitored, size: int, options: argparse.Namespace) -> list[tuple[float, float]]:
    """CPU in percent of a core, and PSS in MiB."""
    seconds, rounds = options.seconds, options.rounds
    if each.every > seconds:
        seconds, rounds = each.every, min(options.few, rounds)
    with tempfile.TemporaryDirectory() as folder:
        starts = Path(folder) / "starts"
        with each.make(programs.worker(starts), size) as contestant:
            processes.until(lambda: starts.exists() and lines(starts) >= size, 60 + size, f"{size} workers", 0.5)
            time.sleep(SETTLE)
            return [one(contestant, seconds) for _ in range(rounds)]


def one(contestant: Contestant, seconds: float) -> tuple[float, float]:
    keepers = contestant.keepers()
    before, at = processes.cpu_seconds(keepers, children=True), time.monotonic()
    time.sleep(seconds)
    used = processes.cpu_seconds(keepers, children=True) - before
    return used / (time.monotonic() - at) * 100, processes.pss_mb(contestant.keepers())


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


if __name__ == "__main__":
    made = command.parser(__doc__, rounds=10)
    made.add_argument("--workers", default="4,100,1000", help="how many, with commas (%(default)s)")
    made.add_argument("--seconds", type=float, default=15.0, help="of one sample (%(default)s)")
    made.add_argument("--few", type=int, default=3, help="samples of those that look once a minute (%(default)s)")
    command.main(measure, made.parse_args())
