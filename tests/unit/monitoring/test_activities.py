"""Activities: told when they fail, tried again after a growing wait, shown until they do their work again."""

import asyncio
import threading

import pytest

from mindbot_supervisor.monitoring.activities import (
    GRACE,
    RETRY_FIRST,
    RETRY_MAX,
    Activities,
    Activity,
    Rounds,
    describe,
)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def made(**options) -> tuple[Activity, Clock, list]:
    told, clock = [], Clock()
    return Activity("sampler", lambda *what: told.append(what), clock=clock, **options), clock, told


def fail():
    raise ValueError("no such thing")


def test_a_failure_is_told_with_the_name_the_error_the_wait_and_the_place():
    activity, _, told = made()
    activity.attempt(fail)
    ((event, level, fields),) = told
    assert (event, level) == ("supervisor.activity_failed", "error")
    assert fields == {
        "name": "sampler",
        "error": "ValueError: no such thing",
        "retry_in": RETRY_FIRST,
        "where": fields["where"],
    }
    assert fields["where"][-1].startswith("test_activities.py:")


def test_it_is_tried_again_after_a_wait_that_grows_to_a_bound():
    activity, clock, told = made()
    for _ in range(9):
        activity.attempt(fail)
        activity.attempt(fail)  # too early
        clock.now = activity.retry_at
    waits = [fields["retry_in"] for _, _, fields in told]
    assert waits[:4] == [RETRY_FIRST, RETRY_FIRST * 2, RETRY_FIRST * 4, RETRY_FIRST * 8]
    assert max(waits) == waits[-1] == RETRY_MAX
    assert len(waits) == 9


def test_what_has_to_run_each_time_does_and_is_told_only_so_often():
    activity, clock, told = made()
    runs = []

    def work():
        runs.append(clock.now)
        fail()

    for _ in range(40):
        activity.attempt(work, pause=False)
        clock.now += 0.1
    assert len(runs) == 40
    assert 2 <= len(told) <= 5


def test_its_recovery_is_told_once_and_the_next_failure_waits_for_long_until_it_was_healthy_for_a_while():
    activity, clock, told = made()
    for _ in range(5):
        activity.failed("x")
        clock.now = activity.retry_at
    activity.worked()
    activity.worked()
    assert [event for event, _, _ in told].count("supervisor.activity_recovered") == 1
    assert activity.failed("x") > RETRY_FIRST * 10
    for _ in range(3):
        activity.worked()
    assert activity.failed("x") == RETRY_FIRST


def test_a_changed_error_is_told_at_once():
    activity, _, told = made()
    activity.failed("a")
    activity.failed("a")
    activity.failed("b")
    assert [fields["error"] for _, _, fields in told] == ["a", "b"]


def test_its_health_says_for_how_long_and_when_it_is_tried_again():
    activity, clock, _ = made(essential=True)
    assert activity.health() is None
    activity.failed(OSError(24, "Too many open files", "/proc"))
    clock.now += 0.2
    health = activity.health()
    assert health.fields() == {
        "name": "sampler",
        "error": "Too many open files: /proc",
        "for": 0.2,
        "retry_in": 0.3,
    }
    assert health.essential
    activity.worked()
    assert activity.health() is None


def test_one_that_is_silent_for_too_long_fails_though_it_says_nothing():
    activity, clock, told = made(silent_after=10.0)
    clock.now += 100
    assert activity.health() is None, "it was never begun"
    activity.began()
    clock.now += 11
    assert "nothing was heard of it for 11 s" in activity.health().error
    activity.worked()
    assert activity.health() is None
    assert told == []


def test_a_thread_goes_on_after_whatever_its_work_raised(monkeypatch):
    monkeypatch.setattr("mindbot_supervisor.monitoring.activities.RETRY_FIRST", 0.01)
    told, rounds, enough = [], [], threading.Event()
    activity = Activity("sampler", lambda *what: told.append(what))

    def work(_):
        rounds.append(1)
        if len(rounds) == 2:
            raise SystemExit
        if len(rounds) == 3:
            raise MemoryError
        if len(rounds) > 5:
            enough.set()

    each = Rounds(activity, work, 0.01)
    each.start()
    assert enough.wait(30)
    each.stop()
    assert [fields["error"] for event, _, fields in told if event == "supervisor.activity_failed"] == [
        "SystemExit",
        "MemoryError",
    ]
    assert activity.health() is None


async def test_a_task_goes_on_after_whatever_its_work_raised(monkeypatch):
    monkeypatch.setattr("mindbot_supervisor.monitoring.activities.RETRY_FIRST", 0.01)
    activity, _, told = made()
    runs = []

    async def work():
        runs.append(1)
        if len(runs) < 3:
            raise RuntimeError("again")

    await asyncio.wait_for(activity.run_task(work), 30)
    assert len(runs) == 3
    assert told


async def test_all_that_fail_are_listed_and_what_is_essential_only_after_a_moments_grace(monkeypatch):
    noted = []
    activities = Activities(lambda *what, **fields: noted.append((what, fields)))
    activities.add("env watch").failed("a")
    sampler = activities.add("sampler", essential=True)
    sink = ["No space left on device"]
    activities.watch("log", lambda: sink[0])
    assert [health.name for health in activities.unhealthy()] == ["env watch", "log"]
    assert activities.not_watching() is None
    sampler.failed("b")
    assert activities.not_watching() is None
    sampler._since -= GRACE
    assert activities.not_watching().startswith("sampler fails since 3 s: b")
    sink[0] = None
    assert [health.name for health in activities.unhealthy()] == ["env watch", "sampler"]
    await asyncio.sleep(0)
    assert [what for what, _ in noted] == [("supervisor.activity_failed", "error")] * 2


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (FileNotFoundError(2, "No such file or directory", "/x"), "No such file or directory: /x"),
        (ValueError("bad"), "ValueError: bad"),
        (KeyError(), "KeyError"),
    ],
)
def test_an_exception_is_described_in_one_line(error, line):
    assert describe(error) == line
