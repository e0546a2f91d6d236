"""(g) How far a leaking worker gets beyond its limit: `python bench/leak_overshoot.py [--rounds 10] [--minutes 25]`.

A C program that takes 20 MB a second, with a limit of 300 MB. All contestants run side by side, each until it has ended
as many leaking workers as there are rounds, or the time is over.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from contest import command, processes, programs
from contest.circus import Circus
from contest.contestants import Contestant
from contest.ours import Ours
from contest.programs import Program
from contest.report import CIRCUS, OURS, SUPERVISORD, Report
from contest.supervisord import Supervisord

LIMIT_MB, MB_PER_S = 300, 20
MOST_MB = 6000
OURS_SETTINGS = {
    "LIMITS__MEMORY_HARD_MB": LIMIT_MB,
    "LIMITS__MEMORY_SOFT_MB": LIMIT_MB - 1,
    "RESTART__HEALTHY_AFTER": 5,
}
Maker = Callable[[Program], Contestant]
MAKERS: dict[str, tuple[str, Maker]] = {
    OURS: (Ours.label, lambda program: Ours(program, 1, **OURS_SETTINGS)),
    SUPERVISORD: (
        f"{Supervisord.label} + memmon, TICK_60 (documented)",
        lambda program: Supervisord(program, 1, limit_mb=LIMIT_MB),
    ),
    "supervisord-5": (
        f"{Supervisord.label} + memmon, TICK_5 (the shortest)",
        lambda program: Supervisord(program, 1, limit_mb=LIMIT_MB, tick="TICK_5"),
    ),
    CIRCUS: (
        f"{Circus.label} + resource_watcher, 60 s (default)",
        lambda program: Circus(program, 1, limit_mb=LIMIT_MB),
    ),
    "circus-1": (
        f"{Circus.label} + resource_watcher, 1 s",
        lambda program: Circus(program, 1, limit_mb=LIMIT_MB, interval=1),
    ),
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
    title = f"(g) a worker leaks {MB_PER_S} MB/s, limit {LIMIT_MB} MB → what it had when it was stopped"
    report = Report(
        "leak_overshoot",
        title,
        "MB",
        ["at its end"],
        base="",
        headline={
            "at its end": f"(g) memory of a worker that leaks {MB_PER_S} MB/s when it was stopped, limit {LIMIT_MB} MB"
        },
    )
    most = min(MOST_MB, psutil.virtual_memory().available // 2**20 // len(MAKERS))
    until = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        running: dict[str, tuple[Contestant, Path]] = {}
        for key, (_, make) in MAKERS.items():
            if command.wanted(options, key):
                starts = Path(folder) / key
                running[key] = stack.enter_context(make(programs.worker(starts, "leak", MB_PER_S, most))), starts
        done: set[str] = set()
        while len(done) < len(running) and time.monotonic() < until:
            time.sleep(0.5)
            for key, (contestant, starts) in running.items():
                if key not in done and len(peaks(starts)) >= options.rounds:
                    done.add(key)
                    command.say(f"(g) {MAKERS[key][0]}: {[round(mb) for mb in peaks(starts)]}")
                    contestant.stop()
        for key, (_, starts) in running.items():
            found = peaks(starts)[: options.rounds]
            report.row(key, MAKERS[key][0]).cells[0] = found or f"not stopped within {options.minutes:g} min"
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
