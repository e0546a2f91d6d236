"""Every phase and every event: what becomes of the worker, what is done, what is told."""

import pytest

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.actions import DumpStacks, Kill, Terminate, Withdraw
from mindbot_supervisor.core.calls.migration import MOVE_GRACE
from mindbot_supervisor.core.policy import HUNG_CALLS_GRACE, KILL_REPEAT, MEMORY_STACK_GRACE, STACK_GRACE
from mindbot_supervisor.core.workers.lifecycle import step
from mindbot_supervisor.core.workers.lifecycle_events import Began, Judged, Kept, Moved, Passed, Relieved, Said
from mindbot_supervisor.core.workers.model import Phase, Reason, Urgency, Verdict

from .build import policy, worker

POLICY = policy()
STOP_TIMEOUT = POLICY.pool.stop_timeout
NOW = 50.0
SOFT = Verdict(Reason.ERRORS, Urgency.DRAIN, 11, 10)
HARD = Verdict(Reason.STOP, Urgency.KILL)
HUNG = Verdict(Reason.HUNG, Urgency.KILL, 10, 10)
STARTING, READY, DRAINING, KILLING = Phase.STARTING, Phase.READY, Phase.DRAINING, Phase.KILLING


def at(phase: Phase) -> object:
    late = {DRAINING: {"deadline": NOW + 60, "leaving": SOFT, "termed": True}, KILLING: {"deadline": NOW + 5}}
    return worker(phase, registered=None if phase is STARTING else True, **late.get(phase, {}))


TABLE = [
    # phase, event, next phase, kinds of actions, events told
    (STARTING, Said("starting"), STARTING, [], []),
    (STARTING, Said("ready", True), READY, [], [log_events.WORKER_READY]),
    (STARTING, Said("draining"), DRAINING, [], [log_events.WORKER_DRAINING]),
    (STARTING, Judged(SOFT), STARTING, [], []),
    (STARTING, Judged(HARD), KILLING, [Kill], [log_events.WORKER_KILLING]),
    (STARTING, Judged(HUNG), KILLING, [DumpStacks], [log_events.WORKER_KILLING]),
    (STARTING, Relieved(SOFT), DRAINING, [Terminate], [log_events.WORKER_DRAINING]),
    (STARTING, Passed(silence=99), STARTING, [], []),
    (READY, Said("starting", True), READY, [], []),
    (READY, Said("ready", True), READY, [], []),
    (READY, Said("ready", False), READY, [], [log_events.WORKER_UNREADY]),
    (READY, Said("draining", True), DRAINING, [], [log_events.WORKER_DRAINING]),
    (READY, Judged(SOFT), READY, [], []),
    (READY, Judged(HARD), KILLING, [Kill], [log_events.WORKER_KILLING]),
    (READY, Judged(HUNG), KILLING, [DumpStacks], [log_events.WORKER_KILLING]),
    (READY, Relieved(SOFT), DRAINING, [Terminate], [log_events.WORKER_DRAINING]),
    (READY, Passed(silence=2.9), READY, [], []),
    (READY, Passed(silence=3.0), READY, [], [log_events.WORKER_SUSPECT]),
    (DRAINING, Said("ready", True), DRAINING, [], []),
    (DRAINING, Said("draining", True), DRAINING, [], []),
    (DRAINING, Judged(SOFT), DRAINING, [], []),
    (DRAINING, Judged(HARD), KILLING, [Kill], [log_events.WORKER_KILLING]),
    (DRAINING, Judged(HUNG), KILLING, [DumpStacks], [log_events.WORKER_KILLING]),
    (DRAINING, Relieved(SOFT), DRAINING, [], []),
    (DRAINING, Passed(calls=1), DRAINING, [], []),
    (KILLING, Said("ready", True), KILLING, [], []),
    (KILLING, Judged(SOFT), KILLING, [], []),
    (KILLING, Judged(HARD), KILLING, [], []),
    (KILLING, Judged(HUNG), KILLING, [], []),
    (KILLING, Relieved(SOFT), KILLING, [], []),
    (KILLING, Passed(), KILLING, [], []),
    *((phase, Kept(), phase, [], []) for phase in Phase),
    (STARTING, Began(1, 0.5), STARTING, [], []),
    (READY, Began(1, 0.5), READY, [], []),
    (DRAINING, Began(1, 0.5), DRAINING, [], []),
    (KILLING, Began(1, 0.5), KILLING, [Kill], []),
    (STARTING, Moved(), STARTING, [], []),
    (READY, Moved(), READY, [], []),
    (DRAINING, Moved(), DRAINING, [], []),
    (KILLING, Moved(), KILLING, [Kill], []),
]


@pytest.mark.parametrize(("phase", "event", "after", "actions", "told"), TABLE)
def test_each_event_has_its_meaning_in_each_phase(phase, event, after, actions, told):
    taken = step(at(phase), event, NOW, POLICY)
    assert taken.worker.phase is after
    assert [type(action) for action in taken.actions] == actions
    assert [change.event for change in taken.changes] == told


def test_the_table_names_every_phase_with_every_event():
    assert {(phase, type(event)) for phase, event, *_ in TABLE} == {
        (phase, event) for phase in Phase for event in (Began, Said, Judged, Relieved, Passed, Kept, Moved)
    }


def test_sigterm_is_sent_once_whatever_comes_after():
    taken = step(worker(READY), Relieved(SOFT), NOW, POLICY)
    again = step(taken.worker, Relieved(SOFT), NOW + 1, POLICY)
    assert (len(taken.actions), len(again.actions)) == (1, 0)
    assert again.worker is taken.worker


def test_a_soft_verdict_leaves_the_worker_serving_until_it_is_relieved():
    taken = step(worker(READY), Judged(SOFT), NOW, POLICY)
    assert (taken.worker.serving, taken.worker.seated, taken.worker.leaving) == (True, False, SOFT)


def test_a_worker_heard_again_is_no_longer_suspect_and_that_is_told_once():
    suspect = step(worker(READY, registered=True), Passed(silence=4), NOW, POLICY).worker
    assert suspect.suspect
    assert step(suspect, Passed(silence=5), NOW, POLICY).changes == ()
    heard = step(suspect, Said("ready", True), NOW, POLICY)
    assert not heard.worker.suspect
    assert [change.event for change in heard.changes] == [log_events.WORKER_READY]


@pytest.mark.parametrize(
    ("calls", "relieved", "seconds", "killed"),
    [
        (0, False, STACK_GRACE - 0.1, False),
        (0, False, STACK_GRACE, True),
        (2, False, STACK_GRACE, False),
        (2, True, STACK_GRACE - 0.1, False),
        (2, True, STACK_GRACE, True),
        (2, False, HUNG_CALLS_GRACE - 0.1, False),
        (2, False, HUNG_CALLS_GRACE, True),
    ],
)
def test_a_hung_worker_with_calls_waits_for_its_replacement_but_not_for_ever(calls, relieved, seconds, killed):
    condemned = step(worker(READY), Judged(HUNG, calls), NOW, POLICY).worker
    taken = step(condemned, Passed(relieved=relieved, calls=calls), NOW + seconds, POLICY)
    assert [type(action) for action in taken.actions] == ([Kill] if killed else [])


@pytest.mark.parametrize(
    ("reason", "grace"),
    [
        (Reason.HUNG, STACK_GRACE),
        (Reason.START, STACK_GRACE),
        (Reason.DRAIN_TIMEOUT, STACK_GRACE),
        (Reason.MEMORY, MEMORY_STACK_GRACE),
    ],
)
def test_stacks_that_tell_why_have_time_to_come_before_the_kill(reason, grace):
    taken = step(worker(STARTING), Judged(Verdict(reason, Urgency.KILL)), NOW, POLICY)
    assert taken.actions == (DumpStacks(taken.worker.ref),)
    assert step(taken.worker, Passed(), NOW + grace - 0.1, POLICY).actions == ()
    assert step(taken.worker, Passed(), NOW + grace, POLICY).actions == (Kill(taken.worker.ref),)


def test_a_replacement_that_is_ready_does_not_cut_short_the_move_of_the_calls():
    heavy = Judged(Verdict(Reason.MEMORY, Urgency.KILL, 400, 300), calls=2, grace=MOVE_GRACE)
    condemned = step(worker(READY), heavy, NOW, POLICY)
    assert condemned.actions == (DumpStacks(condemned.worker.ref),)
    assert step(condemned.worker, Passed(relieved=True), NOW + MOVE_GRACE - 0.1, POLICY).actions == ()
    assert step(condemned.worker, Moved(), NOW + 0.5, POLICY).actions == (Kill(condemned.worker.ref),)


@pytest.mark.parametrize(
    ("asked", "signal"),
    [(Relieved(SOFT), Terminate), (Judged(HARD), Kill), (Judged(HUNG), Kill)],
)
def test_a_worker_that_is_still_being_started_gets_its_signal_when_it_runs_and_only_then(asked, signal):
    told = step(worker(STARTING, pid=None), asked, NOW, POLICY)
    assert (told.actions, len(told.changes)) == ((Withdraw(told.worker.ref),), 1)
    begun = step(told.worker, Began(7, 0.1), NOW + 1, POLICY)
    assert begun.actions == (signal(told.worker.ref),)
    assert (begun.worker.pid, begun.worker.roll) == (7, 0.1)
    assert step(begun.worker, Relieved(SOFT), NOW + 2, POLICY).actions == ()


def test_a_program_without_beats_is_not_ready_before_it_runs():
    lenient = policy(beats_required=False, ready_after=2.0)
    assert step(worker(STARTING, pid=None), Passed(), NOW, lenient).worker.phase is STARTING


def test_sigkill_is_repeated_until_the_worker_is_gone():
    condemned = step(worker(READY), Judged(HARD), NOW, POLICY).worker
    assert step(condemned, Passed(relieved=True), NOW + KILL_REPEAT - 0.1, POLICY).actions == ()
    assert step(condemned, Passed(relieved=True), NOW + KILL_REPEAT, POLICY).actions == (Kill(condemned.ref),)


@pytest.mark.parametrize(
    ("calls", "seconds", "killed"),
    [(1, 99.9, False), (1, 100.0, True), (0, STOP_TIMEOUT - 0.1, False), (0, STOP_TIMEOUT, True)],
)
def test_draining_lasts_as_long_as_calls_may_and_no_longer_than_needed_without(calls, seconds, killed):
    draining = step(worker(READY), Relieved(SOFT, calls), NOW, POLICY).worker
    draining = step(draining, Passed(calls=calls), NOW, POLICY).worker
    taken = step(draining, Passed(calls=calls), NOW + seconds, POLICY)
    assert taken.worker.phase is (KILLING if killed else DRAINING)


def test_the_time_to_end_begins_when_the_last_call_does():
    draining = step(worker(READY), Relieved(SOFT, 1), NOW, POLICY).worker
    draining = step(draining, Passed(calls=1), NOW + 50, POLICY).worker
    draining = step(draining, Passed(calls=0), NOW + 51, POLICY).worker
    assert step(draining, Passed(), NOW + 51 + STOP_TIMEOUT - 0.1, POLICY).worker.phase is DRAINING
    assert step(draining, Passed(), NOW + 51 + STOP_TIMEOUT, POLICY).worker.phase is KILLING


def test_a_job_whose_room_is_gone_has_its_own_time_and_no_more():
    draining = step(worker(READY), Relieved(SOFT), NOW, POLICY).worker
    draining = step(draining, Passed(), NOW, POLICY).worker
    until = NOW + STOP_TIMEOUT + 10
    assert step(draining, Passed(closing_until=until), until - 0.1, POLICY).worker.phase is DRAINING
    assert step(draining, Passed(closing_until=until), until, POLICY).worker.phase is KILLING
    assert step(draining, Passed(closing_until=NOW + 500), NOW + 100, POLICY).worker.phase is KILLING  # drain_timeout


def test_a_program_without_beats_is_ready_once_it_has_lived_long_enough():
    lenient = policy(beats_required=False, ready_after=2.0)
    young = worker(STARTING)
    assert step(young, Passed(), 1.9, lenient).worker.phase is STARTING
    assert step(young, Passed(), 2.0, lenient).worker.phase is READY
    assert step(young, Passed(), 2.0, POLICY).worker.phase is STARTING
