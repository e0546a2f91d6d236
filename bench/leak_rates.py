"""How often the leak rule is wrong, and how early it is right: `python bench/leak_rates.py [SEEDS]`.

Synthetic workers (leak_series.py) with a soft limit of 300 MiB and the default horizon of an hour. One without a leak
is watched for 24 hours, a leaking one until it meets its limit. Memory is read every 30 s; the sampler reads it every
10 s, and the quietest reading of 30 s counts.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from random import Random
from statistics import median

from leak_series import DAY, LEAKS, MINUTE, NO_LEAK, SOFT_MB, START, STEP, TOO_CLOSE, Kind

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("supervisor", "worker", "config")]

from mindbot_supervisor.core.health.memory_trend import Trend  # noqa: E402
from mindbot_supervisor.core.health.rules.memory import due  # noqa: E402

HORIZON = 3600.0
SEEDS = 200
GROUPS = {"no leak": NO_LEAK, "too close": TOO_CLOSE, "leak": LEAKS}


@dataclass(frozen=True, slots=True)
class Outcome:
    """When the rule spoke and when the limit was met, in seconds since ready; None: it did not happen."""

    caught: float | None = None
    limit: float | None = None


def watch(kind: Kind, seed: int, until: float, *, leaks: bool) -> Outcome:
    """One worker. After a leak is caught the series goes on, to know how long before the limit that was."""
    r = Random(seed)
    series, trend, roll = kind(r), Trend(), r.random()
    now, caught = START, None
    while now < until:
        mb, jobs = series(now)
        if leaks and mb > SOFT_MB:
            return Outcome(caught, now)
        if caught is None:
            trend.calls(jobs, now)
            trend.see(mb, mb, now, roll)
            found = trend.leak(SOFT_MB)
            if found is not None and due(found, HORIZON, SOFT_MB):
                caught = now
                if not leaks:
                    break
        now += STEP
    return Outcome(caught)


def outcome(group: str, name: str, seed: int) -> Outcome:
    leaks = group == "leak"
    return watch(GROUPS[group][name], seed, 4 * DAY if leaks else DAY, leaks=leaks)


def table(*heads: str) -> None:
    row(*heads)
    row(*["---"] * len(heads))


def row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def false_positives(pool: ProcessPoolExecutor, group: str, seeds: int) -> None:
    table("", "worker-days", "called a leak", "rate")
    for name in GROUPS[group]:
        found = list(pool.map(outcome, repeat(group), repeat(name), range(seeds), chunksize=20))
        wrong = sum(each.caught is not None for each in found)
        row(name, seeds, wrong, f"{wrong / seeds:.1%}")


def detections(pool: ProcessPoolExecutor, seeds: int) -> None:
    table("", "workers", "before the limit", "rate", "time to detection", "before the limit by")
    for name in LEAKS:
        found = list(pool.map(outcome, repeat("leak"), repeat(name), range(seeds), chunksize=20))
        early = [each for each in found if each.caught is not None]
        took = median(each.caught for each in early if each.caught is not None) / MINUTE
        lead = median(each.limit - each.caught for each in early if each.limit and each.caught) / MINUTE
        row(name, seeds, len(early), f"{len(early) / seeds:.1%}", f"{took:.0f} min", f"{lead:.0f} min")


def main() -> None:
    seeds, began = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS, time.monotonic()
    with ProcessPoolExecutor() as pool:
        print("No leak, and clear of the limit by half its height or more:\n")
        false_positives(pool, "no leak", seeds)
        print("\nNo leak, but within 15 % of its height of the limit, where the first rise looks like one:\n")
        false_positives(pool, "too close", seeds // 4)
        print("\nLeaks:\n")
        detections(pool, seeds)
    print(f"\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
