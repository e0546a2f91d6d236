"""(g) How far a leaking worker gets beyond its limit: `python bench/leak_overshoot.py [--rounds 10] [--minutes 25]`.

A C program that takes 20 MB a second, with a limit of 300 MB; the peers look once a minute (as documented; the default)
and every 5 s. All contestants run side by side, each until it has ended as many leaking workers as there are rounds, or
the time is over.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from pathlib import Path

import psutil
from contest import command, processes, programs
from contest.contestants import Contestant
from contest.monitored import LIMIT_MB, PEERS, Monitored
from contest.ours import Ours
from contest.report import OURS, Report

MB_PER_S = 20
TITLE = f"(g) a worker leaks {MB_PER_S} MB/s, limit {LIMIT_MB} MB → what it had when it was stopped"
COLUMN = "at its end, MB"
MOST_MB = 6000
OURS_SETTINGS = {
    "LIMITS__MEMORY_HARD_MB": LIMIT_MB,
    "LIMITS__MEMORY_SOFT_MB": LIMIT_MB - 1,
    "RESTART__HEALTHY_AFTER": 5,
}
ALL: dict[str, Monitored] = {
    OURS: Monitored(Ours.label, lambda program, count: Ours(program, count, **OURS_SETTINGS), 1),
    **PEERS,
}


def peaks(starts: Path) -> list[float]:
    """MB that each leaking worker had at last, of those that are gone."""
    found = []
    for path in starts.parent.glob(f"{starts.name}.*.rss"):
        pid = int(path.suffixes[-2][1:])
        if processes.words(pid)[1:2] != (str(starts),) and (text := path.read_text()):
            found.append(float(text))
    return found


def measure(options: argparse.Namespace) -> Report:
    report = Report("leak_overshoot", TITLE, [COLUMN], base="", headline={COLUMN: f"{TITLE}, MB"})
    most = min(MOST_MB, psutil.virtual_memory().available // 2**20 // 2)
    until = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        running: dict[str, Contestant] = {}
        for key, each in ALL.items():
            if command.wanted(options, key):
                program = programs.worker(Path(folder) / key, "leak", MB_PER_S, most)
                running[key] = stack.enter_context(each.make(program, 1))
        while running:
            time.sleep(0.5)
            for key in list(running):
                found = peaks(Path(folder) / key)
                if len(found) >= options.rounds or time.monotonic() > until:
                    report.row(key, ALL[key].label).cells[0] = found or f"not stopped within {options.minutes:g} min"
                    command.say(f"(g) {ALL[key].label}: {[round(mb) for mb in found]}")
                    running.pop(key).end()
    report.rows.sort(key=lambda row: list(ALL).index(row.key))
    report.notes += [
        f"It begins to leak up to a minute after its start, at random, and would go on to {most:,} MB.",
        "All run side by side. resource_watcher restarts when it was over the limit four times in a row.",
        "Ours: memory_hard_mb = 300, memory_soft_mb = 299; healthy_after = 5, so that no restart waits.",
    ]
    return report


if __name__ == "__main__":
    made = command.parser(__doc__, rounds=10)
    made.add_argument("--minutes", type=float, default=25.0, help="at most (%(default)s)")
    command.main(measure, made.parse_args())
