"""A worker that cannot work says why in one line, three times over: exit code, last beat, stderr."""

from __future__ import annotations

import json
from typing import Any

import pytest

SERVER = "from livekit.agents import AgentServer\nserver = AgentServer()\n"
SESSION = "@server.rtc_session()\nasync def entry(ctx): ...\n"

CASES = {
    "not MODULE:ATTR": ("agent_under_test", "", "not of the form MODULE:ATTR"),
    "no such module": ("agent_under_tset:server", "", "cannot find the agent module 'agent_under_tset'"),
    "no such submodule": ("agent_under_test.inner:server", "", "cannot find the agent module 'agent_under_test.inner'"),
    "no such attribute": ("agent_under_test:srever", SERVER, "it has the AgentServer 'server'"),
    "not a server": ("agent_under_test:server", "server = 'nothing'", "it is a str, not a livekit.agents.AgentServer"),
    "no session": ("agent_under_test:server", SERVER, "no session is registered"),
    "raises": ("agent_under_test:server", "x = 1\n{}['speech']\n", "KeyError: 'speech' (agent_under_test.py:2)"),
    "missing import": ("agent_under_test:server", "import speechless\n", "No module named 'speechless'"),
    "syntax": ("agent_under_test:server", "def broken(:\n", "agent_under_test.py:1"),
    "exits": ("agent_under_test:server", "import sys; sys.exit('bye')", "it ends the process instead"),
    "cannot travel": (
        "agent_under_test:server",
        SERVER + "server.rtc_session(lambda ctx: None)\n",
        "define it at the top level",
    ),
}


@pytest.mark.parametrize(("agent", "source", "said"), CASES.values(), ids=CASES.keys())
def test_an_agent_that_cannot_be_run_is_refused_in_one_line(
    start_worker: Any, agent: str, source: str, said: str
) -> None:
    worker = start_worker(source, prelude=False, agent=agent)
    assert worker.exit() == 78
    assert_told(worker, 78, said)


def test_registering_without_credentials_is_refused(start_worker: Any) -> None:
    worker = start_worker(SERVER + SESSION, prelude=False, MINDBOT_WORKER__REGISTERED="true")
    assert worker.exit() == 78
    assert_told(worker, 78, "LIVEKIT_URL and LIVEKIT_API_KEY and LIVEKIT_API_SECRET not set")


def test_settings_that_do_not_fit_are_refused(start_worker: Any) -> None:
    worker = start_worker(SERVER + SESSION, prelude=False, MINDBOT_POOL__MAX_CALLS="0")
    assert worker.exit() == 78
    assert_told(worker, 78, "max_calls")


def test_mindbot_without_its_providers_is_refused(start_worker: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
    worker = start_worker(agent="mindbot_worker.mindbot:server")
    assert worker.exit() == 78
    assert_told(worker, 78, "OPENAI_API_KEY and DEEPGRAM_API_KEY not set")


def test_a_server_that_ends_by_itself_is_an_internal_error(start_worker: Any) -> None:
    worker = start_worker(
        """
        async def leave():
            await asyncio.sleep(0.5)
            await server.aclose()
        server.on("worker_started", lambda: asyncio.get_running_loop().create_task(leave()))
        async def call(ctx): ...
        """
    )
    assert worker.exit() == 70
    assert_told(worker, 70, "ended by itself")


def assert_told(worker: Any, code: int, said: str) -> None:
    failure = worker.beat(lambda b: b.failure is not None, within=5).failure
    assert (failure.code, said in failure.message) == (code, True), failure
    lines = [line for line in worker.err if line.strip()]
    assert len(lines) == 1, lines
    record = json.loads(lines[0])
    assert record["event"] == "worker.failed" and record["message"] == failure.message and record["code"] == code
    assert "Traceback" not in "".join(worker.err + worker.out) and "\n" not in failure.message
