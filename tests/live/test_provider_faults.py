"""What comes of each fault of each provider, one test for each cell. The table is in provider_faults.py.

A representative third is played in every run, and all of it with PROVIDER_FAULTS=all.
"""

import asyncio
import os
from collections import Counter

import pytest

from live.livekit import local  # noqa: F401 (a fixture)
from live.provider_faults import CELLS, PHRASE, TEXT, WORKERS, play

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]
ALL = os.environ.get("PROVIDER_FAULTS") == "all"
PLAYED = [cell for cell in CELLS if cell.usual or ALL]
SILENCE = 40.0
"""Seconds that nobody may have to wait for a sound, on the slowest machine."""


@pytest.fixture(scope="module")
def pool(request, tmp_path_factory, local):  # noqa: F811
    """Plays the cells of the tests that are to run."""
    wanted = {item.callspec.params["cell"] for item in request.session.items if "cell" in names_of(item)}
    cells = [cell for cell in PLAYED if cell in wanted] or PLAYED
    return asyncio.run(play(cells, tmp_path_factory.mktemp("faults"), local))


def names_of(item):
    return item.callspec.params if item.module.__name__ == __name__ and hasattr(item, "callspec") else ()


@pytest.mark.parametrize("cell", PLAYED, ids=[cell.name for cell in PLAYED])
def test_a_fault_is_heard_logged_and_counted_as_the_table_says(pool, cell):
    seen = pool.cells[cell]
    assert seen.heard in (cell.heard, cell.or_heard)
    assert seen.ended == cell.ends
    assert not seen.inaudible, "whatever was spoken was heard"
    assert seen.silence < SILENCE
    assert {kind for kind, _, _ in seen.errors} <= {cell.kind}
    assert {(status, recoverable) for _, status, recoverable in seen.errors} >= cell.errors
    assert seen.told == ([cell.kind] if cell.ends else []), "the end is told once"
    # and one more where LiveKit closed the session
    assert seen.counted - seen.errors.total() in ((0, 1) if cell.ends else (0,))


def test_what_was_counted_is_in_the_heartbeats_by_kind(pool):
    by = Counter()
    for row in pool.workers:
        by.update(row["errors_by"])
    logged = Counter()
    for seen in pool.cells.values():
        for (kind, _, _), count in seen.errors.items():
            logged[kind] += count
    assert by.total() == sum(seen.counted for seen in pool.cells.values())
    assert {kind: by[kind] for kind in logged} == logged


def test_nobody_was_restarted_for_what_a_provider_did(pool):
    assert {row["worker"] for row in pool.workers} == {f"{slot}.1" for slot in range(WORKERS)}
    assert not [each for each in pool.records if each["event"] in ("worker.exited", "worker.draining", "call.lost")]
    warned = [each["worker"] for each in pool.records if each["event"] == "limit.warned"]
    assert len(warned) == len(set(warned)), "once for each worker at most"


def test_nothing_that_was_spoken_is_in_the_log(pool):
    assert not [text for text in (*TEXT.values(), PHRASE, "That was turn") if text in pool.log]
