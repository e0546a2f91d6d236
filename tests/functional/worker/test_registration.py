"""Registered or not, and why: told in every beat, whatever LiveKit does."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mindbot_worker.protocol import heartbeat

_spec = importlib.util.spec_from_file_location("fake_livekit", Path(__file__).with_name("fake_livekit.py"))
assert _spec is not None and _spec.loader is not None
fake = importlib.util.module_from_spec(_spec)
sys.modules["fake_livekit"] = fake
_spec.loader.exec_module(fake)

SECRET = "a-secret-of-thirty-two-characters"
LONG_CALL = """
    async def call(ctx):
        await asyncio.sleep(600)
"""
FULL = 1


@pytest.fixture
def livekit() -> Iterator[Callable[..., Any]]:
    servers: list[Any] = []

    def start(habit: str = fake.ACCEPT) -> Any:
        servers.append(fake.FakeLiveKit(habit))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


def register(start_worker: Any, url: str, **settings: str) -> Any:
    return start_worker(
        LONG_CALL,
        MINDBOT_WORKER__REGISTERED="true",
        LIVEKIT_URL=url,
        LIVEKIT_API_KEY="devkey",
        LIVEKIT_API_SECRET=SECRET,
        **settings,
    )


def until(condition: Callable[[], Any], within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def test_a_lost_connection_is_told_at_once_and_so_is_the_new_registration(start_worker: Any, livekit: Any) -> None:
    server = livekit()
    worker = register(start_worker, server.url)
    ready = worker.beat(lambda b: b.registered)
    assert (ready.state, ready.worker_id, ready.problem) == (heartbeat.READY, "AW_1", "")
    server.habit = fake.REFUSE
    server.drop()
    lost = worker.beat(lambda b: b.registered is False, after=ready.seq, within=5)
    assert lost.state == heartbeat.READY and lost.problem
    refused = worker.beat(lambda b: "401" in b.problem, after=ready.seq, within=20)
    assert refused.state == heartbeat.READY
    server.habit = fake.ACCEPT
    again = worker.beat(lambda b: b.registered, after=refused.seq, within=30)
    assert again.worker_id not in ("", "AW_1") and again.problem == ""


def test_refused_credentials_are_said_once_in_plain_words_without_the_secret(start_worker: Any, livekit: Any) -> None:
    server = livekit(fake.REFUSE)
    worker = register(start_worker, server.url)
    beat = worker.beat(lambda b: b.problem)
    assert beat.state == heartbeat.STARTING and beat.registered is False
    assert beat.problem == f"livekit at ws://127.0.0.1:{server.port} refused the credentials (401)"
    until(lambda: len(server.attempts) >= 4)
    assert len(worker.records("serving.unregistered")) == 1
    said = "".join(worker.out + worker.err)
    assert SECRET not in said and "failed to connect" not in said
    server.habit = fake.ACCEPT
    assert worker.beat(lambda b: b.registered, within=30).state == heartbeat.READY


def test_a_server_that_is_not_there_is_named(start_worker: Any, livekit: Any) -> None:
    server = livekit()
    server.end()
    worker = register(start_worker, server.url)
    problem = worker.beat(lambda b: b.problem).problem
    assert problem == f"cannot reach livekit at ws://127.0.0.1:{server.port}: connection refused"


def test_a_server_that_accepts_and_closes_is_not_called_hundreds_of_times(start_worker: Any, livekit: Any) -> None:
    server = livekit(fake.CLOSE)
    worker = register(start_worker, server.url)
    worker.beat(lambda b: "closed the connection" in b.problem)
    before = len(server.attempts)
    time.sleep(5)
    assert len(server.attempts) - before < 10


def test_a_worker_is_full_at_exactly_max_calls_even_when_all_are_offered_at_once(
    start_worker: Any, livekit: Any
) -> None:
    server = livekit()
    worker = register(start_worker, server.url, MINDBOT_POOL__MAX_CALLS="3")
    worker.beat(lambda b: b.registered)
    server.offer(*(f"job-{number}" for number in range(5)))
    until(lambda: len(server.answers) == 5)
    taken = [name for name, answer in server.answers.items() if answer.available]
    assert len(taken) == 3
    assert not any(answer.terminate for answer in server.answers.values())
    live = worker.beat(lambda b: len(b.calls) == 3, within=30)
    assert {call.job for call in live.calls} == set(taken)
    until(lambda: server.statuses[-1][0] == FULL)
    assert worker.beat(lambda b: b.load >= 1.0, within=10).state == heartbeat.READY
    assert all(status != FULL for status, _, count in server.statuses if count < 3)


def test_a_users_own_request_function_still_decides(start_worker: Any, livekit: Any) -> None:
    server = livekit()
    worker = start_worker(
        """
        from livekit.agents import AgentServer
        server = AgentServer(num_idle_processes=1)
        async def choose(request):
            await (request.reject() if request.room.name == "job-no" else request.accept(identity="me"))
        @server.rtc_session(on_request=choose)
        async def entry(ctx):
            import asyncio
            await asyncio.sleep(600)
        """,
        prelude=False,
        MINDBOT_WORKER__REGISTERED="true",
        LIVEKIT_URL=server.url,
        LIVEKIT_API_KEY="devkey",
        LIVEKIT_API_SECRET=SECRET,
    )
    worker.beat(lambda b: b.registered)
    server.offer("job-no", "job-yes")
    until(lambda: len(server.answers) == 2)
    assert (server.answers["job-no"].available, server.answers["job-yes"].available) == (False, True)
    assert worker.beat(lambda b: b.calls, within=30).calls[0].identity == "me"
