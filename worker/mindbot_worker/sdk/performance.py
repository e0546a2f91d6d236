"""`monitor_performance`, for agents: measures how long a function takes, and how much CPU it uses itself.

    from mindbot_worker import monitor_performance

    @monitor_performance
    async def look_up(order: str) -> Order: ...

    @monitor_performance(name="search", slow_after=0.3)
    def search(words: list[str]) -> list[Hit]: ...

The first slow run of a function in a call is a `performance.slow` warning; the call's end brings one
`performance.summary` line with all of them. Measuring costs some microseconds a run; with `worker.monitor_performance`
off the function is left as it is.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from time import perf_counter, thread_time
from typing import Any, TypeVar, overload

from mindbot_worker.jobs.function_timings import record

SWITCH = "MINDBOT_WORKER__MONITOR_PERFORMANCE"
"""How the setting reaches workers and their job processes: read where a function is decorated, so at import."""
SLOW_AFTER = 1.0

_FALSE = frozenset({"0", "f", "false", "n", "no", "off"})
"""What pydantic takes for false."""

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def monitor_performance(function: Function, /) -> Function: ...
@overload
def monitor_performance(*, name: str = "", slow_after: float = SLOW_AFTER) -> Callable[[Function], Function]: ...
def monitor_performance(function: Any = None, /, *, name: str = "", slow_after: float = SLOW_AFTER) -> Any:
    """Measures a function, a coroutine function or an asynchronous generator, under `name` or its own name.

    CPU is that of the function's own steps, and of what it awaits directly; not that of other tasks or threads, its own
    children included. The time of a generator is what its items took, without that of whoever uses them.
    """
    if function is None:
        return functools.partial(_measured, name=name, slow_after=slow_after)
    return _measured(function, name=name, slow_after=slow_after)


def _measured(function: Any, *, name: str, slow_after: float) -> Any:
    if os.environ.get(SWITCH, "").strip().lower() in _FALSE:
        return function
    if inspect.isgeneratorfunction(function):
        raise TypeError(f"cannot measure {function.__qualname__}: it is a generator that is not asynchronous")
    name = name or function.__qualname__
    if inspect.isasyncgenfunction(function):
        return _measured_generator(function, name, slow_after)
    if inspect.iscoroutinefunction(function):
        return _measured_coroutine(function, name, slow_after)
    return _measured_function(function, name, slow_after)


def _measured_function(function: Callable[..., Any], name: str, slow_after: float) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        failed, began, cpu = False, perf_counter(), thread_time()
        try:
            return function(*args, **kwargs)
        except Exception:
            failed = True
            raise
        finally:
            cpu = thread_time() - cpu
            record(name, perf_counter() - began, cpu, failed, slow_after)

    return wrapper


def _measured_coroutine(function: Callable[..., Awaitable[Any]], name: str, slow_after: float) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        failed, began, steps = False, perf_counter(), _Steps(function(*args, **kwargs))
        try:
            return await steps
        except Exception:
            failed = True
            raise
        finally:
            record(name, perf_counter() - began, steps.cpu, failed, slow_after)

    return wrapper


def _measured_generator(
    function: Callable[..., AsyncGenerator[Any, Any]], name: str, slow_after: float
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        generator = function(*args, **kwargs)
        failed, seconds, cpu = False, 0.0, 0.0
        step: Any = generator.asend(None)
        try:
            while True:
                began, steps = perf_counter(), _Steps(step)
                try:
                    item = await steps
                except StopAsyncIteration:
                    return
                finally:
                    seconds += perf_counter() - began
                    cpu += steps.cpu
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as exc:
                    step = generator.athrow(exc)
                else:
                    step = generator.asend(sent)
        except Exception:
            failed = True
            raise
        finally:
            await generator.aclose()
            record(name, seconds, cpu, failed, slow_after)

    return wrapper


class _Steps:
    """An awaitable that is run step by step as before, with the CPU time of each of its steps added up."""

    __slots__ = ("_close", "_send", "_throw", "cpu")

    def __init__(self, inner: Any) -> None:
        self._send, self._throw, self._close = inner.send, inner.throw, inner.close
        self.cpu = 0.0

    def __await__(self) -> Generator[Any, Any, Any]:
        return self

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        began = thread_time()
        try:
            return self._send(value)
        finally:
            self.cpu += thread_time() - began

    def throw(self, *exc: Any) -> Any:
        began = thread_time()
        try:
            return self._throw(*exc)
        finally:
            self.cpu += thread_time() - began

    def close(self) -> None:
        self._close()
