"""How many warm job processes a worker should have for calls that are about to come to it. Pure."""

from __future__ import annotations

from math import ceil

FEW = 1
"""So many calls find a warm process in any case: every worker that can take one has one."""
CHANCE = 1
"""LiveKit chooses by chance between workers with equal load, so that some get one call more than their share."""


def warm_for(calls: int, workers: int) -> int:
    """For each of these workers; 0 where what it has will do."""
    return ceil(calls / workers) + CHANCE if calls > FEW and workers else 0
