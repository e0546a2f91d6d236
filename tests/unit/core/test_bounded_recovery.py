"""Tables of calls and rooms that a worker could fill by naming ever new ones."""

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import Recover
from mindbot_supervisor.core.calls import quarantine
from mindbot_supervisor.core.calls.call_outcomes import CallCounts
from mindbot_supervisor.core.calls.quarantine import DEATHS_MAX, ROOMS_MAX
from mindbot_supervisor.core.calls.recovery import CASES_MAX, CASES_OF_ONE, Recovery
from mindbot_supervisor.core.calls.recovery_state import Terms
from mindbot_supervisor.core.workers.model import Ref

from .build import call

TERMS = Terms(attempts=2, deadline=5.0)


def test_rooms_in_which_agents_died_are_remembered_up_to_a_bound_the_latest_first():
    died: quarantine.Deaths = {}
    for number in range(ROOMS_MAX + 100):
        quarantine.note(died, f"r{number}", float(number))
    assert len(died) == ROOMS_MAX
    assert f"r{ROOMS_MAX + 99}" in died and "r0" not in died


def test_a_room_in_which_agents_die_all_the_time_has_so_many_deaths_at_most():
    died: quarantine.Deaths = {}
    for number in range(1000):
        counted = quarantine.note(died, "r", number / 10)
    assert counted == len(died["r"]) == DEATHS_MAX


def test_a_worker_that_listed_a_thousand_calls_has_so_many_recovered_and_the_rest_is_lost():
    recovery = Recovery(TERMS, CallCounts())
    moves = [move for n in range(1000) for move in recovery.lost(call(n), Ref(0, 1), 7, 10.0, reason="signal")]
    assert sum(isinstance(move, Recover) for move in moves) == CASES_OF_ONE
    lost = [move for move in moves if getattr(move, "event", "") == log_events.CALL_LOST]
    assert len(lost) == 1000 - CASES_OF_ONE
    assert "too many calls" in lost[0].fields["detail"]


def test_its_sibling_has_its_calls_recovered():
    recovery = Recovery(TERMS, CallCounts())
    for n in range(1000):
        recovery.lost(call(n), Ref(0, 1), 7, 10.0, reason="signal")
    assert any(isinstance(move, Recover) for move in recovery.lost(call(2000), Ref(1, 1), 8, 10.0, reason="signal"))


def test_all_workers_together_have_so_many_at_one_time():
    recovery = Recovery(TERMS, CallCounts())
    for n in range(CASES_MAX + 500):
        recovery.lost(call(n), Ref(n % 50, 1), 7, 10.0, reason="signal")
    assert len(recovery.cases) == CASES_MAX
