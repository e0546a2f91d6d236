"""What counts as a slow leak that was drained as it should be."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "bench"))

from slow_leak_result import Calls, Found, faults, progress, told

COUNTS = {"ended": 100, "lost": 0, "recovered": 0, "migrated": 0, "cut_by_us": 0}
DRAIN = {"reason": "leak", "calls": 2, "value": 287.4, "detail": "seconds until the soft limit at 60 MiB/h"}
GOOD = Found(DRAIN, 3000.0, 340.0, 361.0, 0.01, "asked", Calls(served=100), COUNTS)


def test_a_drain_by_its_slope_before_the_limit_without_a_call_cut_is_as_it_should_be():
    assert faults(GOOD) == []
    assert told(GOOD)[0] == "drained after 50.0 min for leak; at most 340 of 361 MiB until then"
    assert told(GOOD)[1] == "the verdict: 287 seconds until the soft limit at 60 MiB/h"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (replace(GOOD, drain=None), "never drained"),
        (replace(GOOD, drain={**DRAIN, "reason": "memory"}), "for memory, not for its leak"),
        (replace(GOOD, drain={**DRAIN, "calls": 0}), "no call by then"),
        (replace(GOOD, most_mb=361.0), "met its limit"),
        (replace(GOOD, lead=None), "not ready before"),
        (replace(GOOD, lead=-0.5), "not ready before"),
        (replace(GOOD, exit_verdict="killed"), "otherwise than asked: killed"),
        (replace(GOOD, calls=Calls(100, cut=["long-3"])), "without an agent: long-3"),
        (replace(GOOD, calls=Calls(100, unanswered=["short-1"])), "without an agent: short-1"),
        (replace(GOOD, counts={**COUNTS, "lost": 1, "recovered": 1}), "counts 2 calls"),
    ],
)
def test_whatever_else_became_of_it_is_said(found: Found, said: str):
    (fault,) = faults(found)
    assert said in fault
    assert told(found)


def test_progress_tells_the_slope_once_it_is_known():
    row = {"pss_mb": 200.5, "calls": [{}, {}], "leak": None}
    assert "200.5 MiB with 2 calls, at most 240 of 361 so far; no growth found" in progress(row, Calls(), 361, 240, 60)
    row["leak"] = {"mb_per_hour": 60.1, "limit_in": 3000}
    assert "60.1 MiB/h, limit in 3000 s; 0 calls served" in progress(row, Calls(), 361, 240, 60)
