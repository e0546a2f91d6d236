"""What `monitor_performance` measures, and what it leaves as it is."""

import asyncio
import inspect
import pickle
import time

import pytest

from mindbot_worker import monitor_performance
from mindbot_worker.jobs import function_timings
from mindbot_worker.jobs.function_timings import Percentiles


@pytest.fixture(autouse=True)
def measuring(monkeypatch):
    """Each test measures from zero, whatever its environment says."""
    monkeypatch.delenv("MINDBOT_WORKER__MONITOR_PERFORMANCE", raising=False)
    function_timings._timings.clear()


def told(caplog):
    """The summary's functions, as they are logged at the end of a call."""
    caplog.set_level("INFO")
    function_timings.log_summary()
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == function_timings.SUMMARY]
    return record.functions


def burn(seconds):
    """Keeps this thread busy for so long, by its own CPU clock."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@monitor_performance
def plain(value):
    """Doubles."""
    burn(0.02)
    return 2 * value


@monitor_performance(name="asked", slow_after=60)
async def asked(value):
    burn(0.02)
    await asyncio.sleep(0.01)
    burn(0.02)
    return 2 * value


async def test_functions_of_both_kinds_return_what_they_return_and_keep_their_names(caplog):
    assert plain(2) == 4
    assert await asked(3) == 6
    assert (plain.__name__, plain.__doc__) == ("plain", "Doubles.")
    assert inspect.iscoroutinefunction(asked)
    assert not inspect.iscoroutinefunction(plain)
    functions = told(caplog)
    assert set(functions) == {"plain", "asked"}
    assert functions["plain"]["cpu"] >= 0.02
    assert functions["asked"]["cpu"] >= 0.04
    assert functions["asked"]["max"] >= 0.05
    assert {function["count"] for function in functions.values()} == {1}


def test_a_measured_function_can_be_sent_to_a_job_process():
    assert pickle.loads(pickle.dumps(asked_by_name)) is asked_by_name


@monitor_performance
async def asked_by_name(): ...


async def test_the_time_of_other_tasks_counts_and_their_cpu_does_not(caplog):
    done = asyncio.Event()

    @monitor_performance(name="waiting")
    async def waiting():
        await done.wait()

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    burn(0.2)
    done.set()
    await task
    function = told(caplog)["waiting"]
    assert function["p50"] >= 0.2 * 0.98
    assert function["cpu"] < 0.1


async def test_a_failure_passes_and_is_counted_and_a_cancelled_run_is_none(caplog):
    @monitor_performance(name="failing")
    async def failing():
        raise ValueError("no")

    @monitor_performance(name="cancelled")
    async def cancelled():
        await asyncio.Event().wait()

    @monitor_performance(name="stumbling")
    def stumbling():
        raise KeyError("no")

    with pytest.raises(ValueError):
        await failing()
    with pytest.raises(KeyError):
        stumbling()
    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    failed = {name: function["failed"] for name, function in told(caplog).items()}
    assert failed == {"failing": 1, "cancelled": 0, "stumbling": 1}


async def test_an_exception_thrown_in_is_handled_inside():
    @monitor_performance
    async def patient():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return "tidied up"

    task = asyncio.create_task(patient())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "tidied up"


@monitor_performance(name="counting")
async def counting(until):
    number = 0
    try:
        while number < until:
            burn(0.01)
            try:
                number = (yield number) or number + 1
            except KeyError:
                yield "caught"
                number += 1
    finally:
        closed.append(until)


closed = []


async def test_a_generator_is_measured_without_the_time_of_its_user(caplog):
    async for _ in counting(3):
        burn(0.2)
    function = told(caplog)["counting"]
    assert 0.03 <= function["cpu"] < 0.3
    assert function["max"] >= 0.03
    assert (function["count"], function["failed"]) == (1, 0)


async def test_a_generator_still_takes_values_and_exceptions_and_is_closed():
    generator = counting(10)
    assert await generator.__anext__() == 0
    assert await generator.asend(7) == 7
    assert await generator.athrow(KeyError()) == "caught"
    assert await generator.__anext__() == 8
    closed.clear()
    await generator.aclose()
    assert closed == [10]
    assert [item async for item in counting(2)] == [0, 1]


def test_a_generator_that_is_not_asynchronous_is_refused_where_it_is_decorated():
    with pytest.raises(TypeError, match=r"cannot measure .*lines: it is a generator"):

        @monitor_performance
        def lines():
            yield 1


def test_only_the_first_slow_run_of_a_call_warns(caplog):
    @monitor_performance(name="slow", slow_after=0.001)
    def slow():
        burn(0.002)

    for _ in range(3):
        slow()
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.event for record in warnings] == [function_timings.SLOW]
    assert (warnings[0].function, warnings[0].slow_after) == ("slow", 0.001)
    assert warnings[0].seconds >= 0.002 and warnings[0].cpu > 0
    assert told(caplog)["slow"]["slow"] == 3
    slow()
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 2, "a call of its own"


def test_without_anything_measured_there_is_no_summary(caplog):
    caplog.set_level("DEBUG")
    function_timings.log_summary()
    assert not caplog.records


@pytest.mark.parametrize("word", ["false", "0", "off", "No"])
def test_switched_off_the_function_is_left_as_it_is(monkeypatch, word):
    monkeypatch.setenv("MINDBOT_WORKER__MONITOR_PERFORMANCE", word)

    def function(): ...

    assert monitor_performance(function) is function
    assert monitor_performance(slow_after=1)(function) is function


class TestPercentiles:
    def test_they_are_within_a_percent(self):
        percentiles = Percentiles()
        for number in range(1, 1001):
            percentiles.add(number / 1000)
        assert percentiles.at(50) == pytest.approx(0.5, rel=0.015)
        assert percentiles.at(95) == pytest.approx(0.95, rel=0.015)
        assert percentiles.at(100) == 1.0
        assert (percentiles.count, percentiles.highest) == (1000, 1.0)
        assert percentiles.total == pytest.approx(500.5)

    def test_of_one_value_all_are_this_value(self):
        percentiles = Percentiles()
        percentiles.add(0.2)
        assert percentiles.at(1) == pytest.approx(0.2, rel=0.01) == percentiles.at(99)

    def test_of_none_there_are_none(self):
        assert Percentiles().at(50) is None

    def test_the_room_they_take_has_an_end(self):
        percentiles = Percentiles()
        for exponent in range(-3000, 3000):
            percentiles.add(10 ** (exponent / 100))
        assert len(percentiles._buckets) < 1400
