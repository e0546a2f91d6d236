"""A call whose job process does not beat: told once with its stack, and its process killed where it stays silent."""

from __future__ import annotations

import pytest

from mindbot_supervisor.core.actions import Kill, KillJob, LookAtJob, Recover
from mindbot_supervisor.core.calls.call_liveness import Found
from mindbot_supervisor.core.calls.recovery_state import Terms
from mindbot_supervisor.core.calls.stalled_calls import LOOK_PATIENCE, stalled
from mindbot_supervisor.core.health.host_pressure import Host
from mindbot_supervisor.core.workers.model import Phase, Ref
from mindbot_worker.protocol.heartbeat import CALL_ENDING, KILLED, Call, Ended

from .build import Driver, call, policy

WORKER, SIBLING = Ref(0, 1), Ref(1, 1)
FOUND = Found(stack="File agent.py, line 3 in entry", where="agent.py:3 in entry")


class Calls(Driver):
    """A pool of which one worker has calls; each is silent since the time in `silent_since`."""

    def __init__(self, calls: int = 1, **limits: object) -> None:
        super().__init__(policy(limits=limits))
        self.pool.recover_by(Terms(2, 5.0))
        self.fill()
        self.silent_since: dict[str, float] = {}
        self.stopped: frozenset[str] = frozenset()
        self.calls = [call(number, pid=500 + number) for number in range(1, calls + 1)]
        self.ended: tuple[Ended, ...] = ()

    def silence(self, *numbers: int) -> None:
        self.silent_since |= {f"AJ_{number}": self.now for number in numbers}

    def told_call(self, each: Call) -> Call:
        age = self.now - self.silent_since.get(each.job, self.now)
        fields = {"state": each.state, "pid": each.pid, "beat_age": age}
        return call(int(each.job.removeprefix("AJ_")), **fields)

    def pass_time(self, seconds: float, *, answer: Found | None = FOUND, mute: tuple[Ref, ...] = ()) -> None:
        for _ in range(round(seconds)):
            self.now += 1.0
            for ref in [ref for ref in self.pool.workers if ref not in mute]:
                calls = tuple(self.told_call(each) for each in self.calls) if ref == WORKER else ()
                ended = self.ended if ref == WORKER else ()
                self._seq += 1
                state = "draining" if self.pool.workers[ref].phase is Phase.DRAINING else "ready"
                told = build_beat(self._seq, state, calls=calls, ended=ended)
                self.do(self.pool.beat(ref, told, self.now, self.stopped if ref == WORKER else frozenset()))
            asked = len(self.did(LookAtJob))
            self.tick()
            if answer is not None:
                for action in self.did(LookAtJob)[asked:]:
                    self.do(self.pool.job_looked(action.ref, action.job, answer, self.now))


def build_beat(seq: int, state: str, **fields: object):
    from .build import beat

    return beat(seq, state, **fields)


def test_a_silent_job_is_looked_at_once_told_once_with_its_stack_and_its_end_with_the_seconds():
    pool = Calls()
    pool.pass_time(5)
    assert not pool.told("call.stalled")
    pool.silence(1)
    pool.pass_time(7)
    (look,) = pool.did(LookAtJob)
    assert (look.ref, look.job, look.pid) == (WORKER, "AJ_1", 501)
    (told,) = pool.told("call.stalled", WORKER)
    assert told.level == "warning"
    assert {key: told.fields[key] for key in ("room", "job", "process", "value", "limit")} == {
        "room": "r1", "job": "AJ_1", "process": 501, "value": 3.0, "limit": 3.0
    }  # fmt: skip
    assert (told.fields["stack"], told.fields["where"]) == (FOUND.stack, FOUND.where)
    assert not pool.did(KillJob)
    pool.silent_since.clear()
    pool.pass_time(3)
    (resumed,) = pool.told("call.resumed", WORKER)
    assert resumed.fields["seconds"] == pytest.approx(8.0, abs=1.1)
    assert resumed.fields["room"] == "r1"
    pool.pass_time(20)
    assert not pool.did(KillJob)
    assert not pool.did(Kill)
    pool.silence(1)
    pool.pass_time(5)
    assert len(pool.told("call.stalled")) == 2, "the next stall is told anew"


def test_a_stack_that_does_not_come_is_not_waited_for():
    pool = Calls()
    pool.silence(1)
    pool.pass_time(3 + LOOK_PATIENCE, answer=None)
    (told,) = pool.told("call.stalled")
    assert "stack" not in told.fields
    assert "did not come" in told.fields["detail"]
    pool.do(pool.pool.job_looked(WORKER, "AJ_1", FOUND, pool.now))
    assert len(pool.told("call.stalled")) == 1, "too late"


def test_a_hung_job_is_killed_and_its_call_recovered():
    pool = Calls()
    pool.silence(1)
    pool.pass_time(9)
    assert not pool.did(KillJob)
    pool.pass_time(1)
    (kill,) = pool.did(KillJob)
    assert (kill.ref, kill.job, kill.pid) == (WORKER, "AJ_1", 501)
    pool.do(pool.pool.job_killed(WORKER, "AJ_1", FOUND, pool.now))
    (hung,) = pool.told("call.hung")
    assert (hung.level, hung.fields["limit"], hung.fields["stack"]) == ("error", 10.0, FOUND.stack)
    pool.calls, pool.ended = [], (Ended("r1", "AJ_1", KILLED),)
    pool.pass_time(1)
    (recovering,) = pool.told("call.recovering")
    assert (recovering.fields["reason"], recovering.fields["room"]) == ("hung", "r1")
    assert pool.did(Recover)
    assert pool.pool.recovery.cases["AJ_1"].ours
    assert pool.pool.workers[WORKER].phase is Phase.READY, "its worker serves on"
    pool.pass_time(20)
    assert len(pool.told("call.hung")) == 1


def test_a_stopped_process_is_killed_as_soon_as_it_is_suspect():
    pool = Calls()
    pool.silence(1)
    pool.pass_time(3, answer=Found(stopped=True, detail="state T"))
    assert pool.did(KillJob)
    assert pool.told("call.stalled")[0].fields["detail"] == "state T"


def test_one_that_is_stopped_later_is_killed_then():
    pool = Calls()
    pool.silence(1)
    pool.pass_time(5)
    assert not pool.did(KillJob)
    pool.stopped = frozenset({"AJ_1"})
    pool.pass_time(1)
    assert pool.did(KillJob)


def test_one_that_goes_on_after_a_stop_is_no_longer_stopped():
    pool = Calls()
    pool.silence(1)
    pool.pass_time(2)
    pool.stopped = frozenset()
    pool.pass_time(6)
    assert not pool.did(KillJob)


def test_a_job_that_will_not_die_is_killed_again_and_told_once():
    pool = Calls()
    pool.silence(1)
    pool.pass_time(10)
    pool.do(pool.pool.job_killed(WORKER, "AJ_1", FOUND, pool.now))
    pool.pass_time(6)
    assert len(pool.did(KillJob)) == 2
    pool.do(pool.pool.job_killed(WORKER, "AJ_1", FOUND, pool.now))
    assert len(pool.told("call.hung")) == 1


def test_a_process_of_somebody_else_is_spared_and_that_is_told():
    pool = Calls()
    pool.silence(1)
    pool.pass_time(10)
    pool.do(pool.pool.job_killed(WORKER, "AJ_1", Found(belongs=False, detail="501 is none of its processes"), pool.now))
    (hung,) = pool.told("call.hung")
    assert hung.fields["detail"] == "501 is none of its processes"
    (still,) = stalled(pool.pool.histories[WORKER], pool.pool.policy)
    assert still.kill_at is None


def test_a_call_without_a_pid_is_told_and_nobody_is_killed():
    pool = Calls()
    pool.calls = [call(1)]
    pool.silence(1)
    pool.pass_time(30)
    assert len(pool.told("call.stalled")) == 1
    assert not pool.did(LookAtJob)
    assert not pool.did(KillJob)


def test_a_call_that_is_ending_has_the_time_that_livekit_gives_it():
    pool = Calls()
    pool.calls = [call(1, pid=501, state=CALL_ENDING)]
    pool.silence(1)
    pool.pass_time(30)
    assert pool.told("call.stalled")
    assert not pool.did(KillJob)
    pool.stopped = frozenset({"AJ_1"})
    pool.pass_time(1)
    assert pool.did(KillJob), "a stopped one ends nothing"


def test_one_hung_job_leaves_the_other_calls_of_its_worker_alone():
    pool = Calls(3)
    pool.silence(2)
    pool.pass_time(12)
    assert [action.job for action in pool.did(KillJob)] == ["AJ_2"]
    assert [change.fields["job"] for change in pool.told("call.stalled")] == ["AJ_2"]


def test_a_silent_worker_says_nothing_of_its_jobs_and_is_judged_itself():
    pool = Calls()
    pool.pass_time(1)
    pool.silence(1)
    pool.pass_time(2)
    pool.pass_time(12, mute=(WORKER,))
    assert not pool.did(KillJob)
    assert not pool.told("call.stalled")
    assert [change.fields["reason"] for change in pool.told("worker.killing", WORKER)] == ["hung"]


def test_a_call_that_ends_while_it_is_stalled_is_over():
    pool = Calls()
    pool.silence(1)
    pool.pass_time(5)
    pool.calls, pool.ended = [], (Ended("r1", "AJ_1"),)
    pool.pass_time(10)
    assert not pool.did(KillJob)
    assert not pool.told("call.resumed")
    pool.do(pool.pool.job_looked(WORKER, "AJ_1", FOUND, pool.now))
    pool.do(pool.pool.job_killed(WORKER, "AJ_1", FOUND, pool.now))
    assert not pool.told("call.hung")


def test_one_that_is_heard_before_its_stack_came_is_told_with_both():
    pool = Calls()
    pool.silence(1)
    pool.pass_time(3, answer=None)
    pool.silent_since.clear()
    pool.pass_time(1, answer=None)
    assert not pool.told("call.resumed")
    pool.do(pool.pool.job_looked(WORKER, "AJ_1", FOUND, pool.now))
    assert pool.told("call.stalled")[0].fields["stack"] == FOUND.stack
    assert len(pool.told("call.resumed")) == 1


def test_a_job_whose_beats_are_not_told_is_not_judged():
    pool = Driver()
    pool.fill()
    pool.run(60, calls=(call(1, pid=501, idle=60.0),))
    assert not pool.did(LookAtJob)
    assert not pool.did(KillJob)


def test_on_an_overloaded_host_several_silent_jobs_have_longer_but_not_a_stopped_one():
    pool = Calls(5)
    pool.do(pool.pool.host(Host(cpu_some=95.0), pool.now))
    pool.silence(1, 2)
    pool.pass_time(20)
    assert len(pool.told("call.stalled")) == 2
    assert not pool.did(KillJob)
    pool.stopped = frozenset({"AJ_2"})
    pool.pass_time(1)
    assert [action.job for action in pool.did(KillJob)] == ["AJ_2"]
    pool.pass_time(10)
    assert "AJ_1" in [action.job for action in pool.did(KillJob)], "and not for ever"


@pytest.mark.parametrize("age", [-1e12, -5.0, 0.0, 1e12])
def test_whatever_age_a_worker_tells_the_pool_goes_on(age):
    pool = Driver()
    pool.fill()
    pool.run(15, calls=(call(1, pid=501, beat_age=age),))
    pool.run(15)
    assert {worker.phase for worker in pool.pool.workers.values()} == {Phase.READY}
    assert not pool.did(Kill)


def test_what_is_stalled_can_be_asked_for():
    pool = Calls()
    pool.silence(1)
    pool.pass_time(5)
    (now,) = stalled(pool.pool.histories[WORKER], pool.pool.policy)
    assert (now.call.room, now.seconds, now.limit, now.found.where) == ("r1", 5.0, 10.0, FOUND.where)
    assert now.kill_at == pytest.approx(pool.now + 5)
