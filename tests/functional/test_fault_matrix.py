"""The fault matrix, one test for each cell. The table is in fault_matrix.py; `make matrix` prints what came of it."""

import pytest

from functional.fault_matrix import CELLS, DRAINING, IN_CALL, KEPT, SIBLINGS, STATES, Played, expected, played

pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize(("fault", "state"), CELLS, ids=[f"{fault}, {state}" for fault, state in CELLS])
def test_a_fault_has_its_verdict_its_time_and_its_journal_entry(fault, state):
    seen, end = played(state), expected(fault, state)
    if fault == "kernel OOM" and seen.no_oom:
        pytest.skip(seen.no_oom)
    ended = seen.ended(fault)
    if end is KEPT:
        assert ended is None or ended["reason"] == "stop", "it was no reason to replace anybody"
        return
    assert ended is not None, f"{fault}, {state}: it never ended"
    assert (ended["verdict"], ended["reason"]) == (end.verdict, end.reason)
    assert {key: ended.get(key) for key in end.fields} == end.fields
    assert ended["uptime"] < end.within
    written = [entry for entry in seen.journal if entry["worker"] == ended["worker"]]
    assert [entry["verdict"] for entry in written] == [end.verdict]
    assert end.stack in (written[0]["stack"] or "")
    assert calls_told(seen, fault, end.calls) == IN_CALL[state] * (fault != "ignores TERM")
    assert replaced(seen, fault) == (state != DRAINING), "a drained slot stays empty, any other is filled again"


def calls_told(seen: Played, fault: str, outcome: str) -> int:
    """How many of its calls were told to have met this outcome."""
    if outcome == "ended":
        return len(seen.of(fault, "call.ended")) or sum(each["calls"] for each in seen.of(fault, "worker.exited"))
    return len(seen.of(fault, "call.lost"))


def replaced(seen: Played, fault: str) -> bool:
    return bool(seen.of(fault, "worker.spawned", generation=2))


@pytest.mark.parametrize("state", STATES)
def test_the_siblings_of_all_faults_never_notice(state):
    seen = played(state)
    slots = range(len(seen.slots), len(seen.slots) + SIBLINGS)
    rows = {row["worker"]: row["phase"] for row in seen.before_stop["workers"]}
    assert {rows.get(f"{slot}.1") for slot in slots} == {"ready"}


@pytest.mark.parametrize("state", STATES)
def test_no_zombie_and_no_stray_process_stays_behind(state):
    seen = played(state)
    assert (seen.zombies, seen.left_behind) == ([], [])


@pytest.mark.parametrize("state", STATES)
def test_lost_and_cut_calls_are_counted_as_what_they_were(state):
    seen = played(state)
    wanted = {"lost": 0, "cut": 0}
    for fault in seen.slots:
        end = expected(fault, state)
        if end is not KEPT and end.calls in wanted and not (fault == "kernel OOM" and seen.no_oom):
            wanted[end.calls] += IN_CALL[state] * (fault != "ignores TERM")
    calls = seen.before_stop["calls"]
    assert (calls["lost"], calls["cut_by_us"]) == (wanted["lost"], wanted["cut"])


def test_a_slot_whose_worker_always_dies_at_boot_is_parked():
    seen = played("starting")
    slot = seen.slots["dies at boot"]
    assert [record for record in seen.records if record["event"] == "slot.parked" and record["slot"] == slot]


def test_an_oom_kill_says_where_it_was_read():
    seen = played("idle")
    if seen.no_oom:
        pytest.skip(seen.no_oom)
    assert "kernel" in seen.ended("kernel OOM")["detail"]
