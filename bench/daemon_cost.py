"""What the daemon itself costs, CPU and memory, with more and more workers that beat once a second.

    python bench/daemon_cost.py [--seconds 30] [N …]        default: 4 100 1000

Prints a Markdown table. CPU is user and system time of the daemon in percent of one core, over a quiet stretch after
all workers are ready.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from functional.daemon import Daemon

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pss_mb(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)
    return int(match.group(1)) / 1024 if match else 0.0


def measure(workers: int, seconds: float) -> tuple[float, float, float]:
    """CPU percent, PSS in MiB, and seconds until all were ready."""
    beater = f"{sys.executable} -S -E {Path(__file__).with_name('beater.py')}"
    environ = {"MINDBOT_WORKER__HEARTBEAT": "required", "MINDBOT_POOL__MAX_STARTING": "8"}
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        with Daemon(Path(folder), "--workers", str(workers), "--command", beater, environ=environ) as daemon:
            daemon.until(lambda: len(daemon.events("worker.ready")) >= workers, timeout=60 + workers)
            took = time.monotonic() - began
            time.sleep(5)
            before, at = cpu_seconds(daemon.process.pid), time.monotonic()
            time.sleep(seconds)
            percent = (cpu_seconds(daemon.process.pid) - before) / (time.monotonic() - at) * 100
            pss = pss_mb(daemon.process.pid)
            daemon.client("stop", "--now", timeout=120)
            daemon.end(120)
    return percent, pss, took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("workers", nargs="*", type=int, default=[4, 100, 1000])
    options = parser.parse_args()
    print("| workers | CPU of the daemon, % of a core | PSS, MB | all ready after, s |\n|---|---|---|---|", flush=True)
    for workers in options.workers:
        percent, pss, took = measure(workers, options.seconds)
        print(f"| {workers} | {percent:.2f} | {pss:.0f} | {took:.1f} |", flush=True)


if __name__ == "__main__":
    main()
