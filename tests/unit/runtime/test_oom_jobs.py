"""A job process that the kernel's OOM killer ended is told as that; one that died of something else is not."""

from mindbot_supervisor.core import events
from mindbot_supervisor.core.model import Ref
from mindbot_supervisor.runtime.cgroups import Cgroups
from mindbot_supervisor.runtime.oom import Oom
from mindbot_supervisor.runtime.oom_jobs import victims
from mindbot_worker.wire import Ended
from unit.core.build import Driver, beat, call

A = Ref(0, 1)


class Log:
    """A kernel log in which the test writes."""

    pids: tuple[int, ...] = ()

    def victims(self):
        pids, self.pids = self.pids, ()
        return pids


def in_a_call() -> tuple[Driver, Oom, Log]:
    driver, log = Driver(), Log()
    driver.fill()
    driver.beat(A, calls=(call(1, pid=500), call(2, pid=600)))
    return driver, Oom(Cgroups(), log), log


def over(outcome: str):
    return beat(99, calls=(call(2, pid=600),), ended=(Ended("r1", "AJ_1", outcome),))


def test_a_victim_is_told_with_its_call_and_where_that_was_read():
    driver, oom, log = in_a_call()
    log.pids = (500,)
    (told,) = victims(oom, driver.pool, A, over("killed"), driver.now)
    assert (told.event, told.worker, told.pid, told.level) == (events.WORKER_OOM, A, 1001, "error")
    assert (told.fields["room"], told.fields["job"], told.fields["process"]) == ("r1", "AJ_1", 500)
    assert "/dev/kmsg" in told.fields["detail"]


def test_a_job_process_that_died_of_something_else_is_no_victim():
    driver, oom, log = in_a_call()
    log.pids = (600, 700)
    assert list(victims(oom, driver.pool, A, over("killed"), driver.now)) == []


def test_a_call_that_ended_well_asks_nobody_and_neither_does_an_unknown_worker():
    driver, oom, log = in_a_call()
    log.pids = (500,)
    assert list(victims(oom, driver.pool, A, over("completed"), driver.now)) == []
    assert list(victims(oom, driver.pool, Ref(9, 9), over("killed"), driver.now)) == []
