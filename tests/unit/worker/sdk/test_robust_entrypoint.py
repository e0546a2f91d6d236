"""Getting into the room, and what an error of the agent leads to, with as much of a job as that takes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace as Some
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIStatusError, CloseEvent, CloseReason
from livekit.agents.llm import LLMError

from mindbot_worker import ConnectFailed, connect_with_retry, notify_error, robust_entrypoint
from mindbot_worker.jobs import session_metrics
from mindbot_worker.jobs.reporter import CallReporter, is_new
from mindbot_worker.sdk import call_failure
from mindbot_worker.sdk import connect_with_retry as connecting
from mindbot_worker.sdk.connect_with_retry import CallEnded, ConnectionRetries, backoff


class Outbox:
    def send(self, _: bytes) -> bool:
        return True


class Participants:
    """The server's word on who is in the room."""

    def __init__(self) -> None:
        self.people: list[Any] = []
        self.exists = True

    async def list_participants(self, _: Any) -> Any:
        return Some(participants=self.people)

    async def list_rooms(self, _: Any) -> Any:
        return Some(rooms=["it"] if self.exists else [])


class Context:
    """`errors` are raised by one attempt to connect each; then it works."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors, self.attempts = list(errors), 0
        self.tried = asyncio.Event()
        self.ended: list[str] = []
        self.deleted = 0
        self.server = Participants()
        self.api = Some(room=self.server)
        self.job = Some(id="AJ_1", room=Some(name="r"), attributes={})
        self.room = Some(isconnected=lambda: False, remote_participants={})
        self.told: asyncio.Future[Any] = asyncio.get_event_loop().create_future()
        self._on_shutdown = self._hook(Some(_shutdown_fut=self.told))

    @staticmethod
    def _hook(process: Any) -> Any:
        def on_shutdown(_: str) -> Any:
            return process

        return on_shutdown

    async def connect(self) -> None:
        self.attempts += 1
        self.tried.set()
        if self.errors:
            raise self.errors.pop(0)

    def is_fake_job(self) -> bool:
        return False

    def shutdown(self, reason: str) -> None:
        self.ended.append(reason)

    async def delete_room(self) -> None:
        self.deleted += 1


@pytest.fixture(autouse=True)
def quick(monkeypatch: Any) -> None:
    monkeypatch.setattr(connecting, "backoff", lambda attempt: 0.001)


@pytest.fixture
async def reporter() -> Any:
    made = CallReporter("AJ_1", Outbox())  # type: ignore[arg-type]
    session_metrics.watch(made)
    yield made
    session_metrics.forget(made)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    call_failure._failing_calls.clear()
    session_metrics._observers.clear()
    session_metrics._latest.clear()


def refused() -> rtc.ConnectError:
    return rtc.ConnectError("no route")


async def test_joining_is_tried_again_and_then_given_up() -> None:
    context = Context(refused(), ConnectionResetError(), TimeoutError())
    await connect_with_retry(context, retries=3)
    assert context.attempts == 4
    context = Context(*(refused() for _ in range(9)))
    with pytest.raises(ConnectFailed, match=r"tried 4 times: ConnectError: no route"):
        await connect_with_retry(context, retries=3)
    assert context.attempts == 4


async def test_what_is_no_error_of_the_connection_is_not_tried_again() -> None:
    context = Context(ValueError("no such token"))
    with pytest.raises(ValueError, match="no such token"):
        await connect_with_retry(context, retries=3)
    assert context.attempts == 1


@pytest.mark.parametrize("attempt", [1, 2, 3, 4])
def test_the_pauses_double_and_are_not_all_the_same(attempt: int) -> None:
    pauses = {backoff(attempt) for _ in range(50)}
    assert len(pauses) > 1 and all(0.75 <= pause / 2 ** (attempt - 1) <= 1.25 for pause in pauses)


async def test_a_job_that_is_told_to_end_stops_waiting_at_once(monkeypatch: Any) -> None:
    monkeypatch.setattr(connecting, "backoff", lambda attempt: 3600.0)
    context = Context(refused())
    joining = asyncio.create_task(connect_with_retry(context, retries=3))
    await asyncio.wait_for(context.tried.wait(), 30)
    context.told.set_result(None)
    with pytest.raises(CallEnded):
        await asyncio.wait_for(joining, 30)


async def test_an_attempt_under_way_is_given_up_when_the_job_is_told_to_end() -> None:
    context = Context()
    work = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(ConnectionRetries(context).unless_ending(work))
    await asyncio.sleep(0)
    context.told.set_result(None)
    with pytest.raises(CallEnded):
        await asyncio.wait_for(waiting, 30)
    assert work.cancelled()


async def test_a_caller_who_has_left_is_not_waited_for() -> None:
    context = Context(*(refused() for _ in range(9)))
    context.server.people = [Some(kind=0)]
    patience = ConnectionRetries(context)
    await patience.after(refused(), 1)
    context.server.people = []
    with pytest.raises(CallEnded):
        await patience.after(refused(), 2)
    assert context.ended == ["the caller has left before the agent came"]


async def test_an_agent_may_come_before_its_caller_but_not_without_a_room() -> None:
    context = Context()
    patience = ConnectionRetries(context)
    await patience.after(refused(), 1)
    context.server.exists = False
    with pytest.raises(CallEnded):
        await patience.after(refused(), 2)


async def test_a_server_that_cannot_be_asked_ends_nothing() -> None:
    context = Context()
    context.api = None
    await ConnectionRetries(context).after(refused(), 1)
    assert context.ended == []


async def test_an_error_is_counted_once_however_often_it_is_told(reporter: CallReporter) -> None:
    error = KeyError("order")
    assert notify_error(error, context=Context()) == "agent"
    assert notify_error(error, context=Context(), kind="other") == "other"
    assert reporter._errors == Counter(agent=1)


async def test_an_error_of_the_session_was_counted_by_the_session(reporter: CallReporter) -> None:
    error = LLMError(timestamp=0, label="openai", error=APIStatusError("no", status_code=500), recoverable=False)
    assert notify_error(error, context=Context()) == "llm"
    assert reporter._errors == Counter()


async def test_the_reason_holds_nothing_of_a_provider_s_answer(caplog: Any) -> None:
    notify_error(APIStatusError("Error code: 400", status_code=400, body={"said": "my card is"}), context=Context())
    (record,) = [each for each in caplog.records if getattr(each, "event", "") == "agent.error"]
    assert record.reason == "APIStatusError: Error code: 400" and record.room == "r"


async def test_an_error_of_the_connection_before_any_session_begins_the_agent_again(reporter: CallReporter) -> None:
    calls = []

    @robust_entrypoint
    async def entry(context: Any) -> None:
        calls.append(context)
        if len(calls) < 3:
            raise ConnectionRefusedError

    context = Context()
    await entry(context)
    assert len(calls) == 3 and reporter._errors == Counter() and context.ended == []


@pytest.mark.parametrize(
    ("error", "calls", "kind"),
    [
        (ConnectionRefusedError(), 4, "connection"),
        (ConnectFailed("tried 4 times"), 1, "connection"),
        (ValueError("no"), 1, "job"),
    ],
)
async def test_an_agent_that_fails_is_told_once_and_its_room_closed(
    error: Exception, calls: int, kind: str, reporter: CallReporter, caplog: Any
) -> None:
    called = []

    @robust_entrypoint(apology="Sorry.", on_failure="close")
    async def entry(context: Any) -> None:
        called.append(context)
        raise error

    context = Context()
    await entry(context)
    assert len(called) == calls and context.deleted == 1
    assert context.ended == [f"the agent failed: {kind}"]
    assert reporter._errors == Counter({kind: 1}) and reporter._failed
    assert sum(getattr(each, "event", "") == "agent.error" for each in caplog.records) == 1


async def test_leaving_keeps_the_room(reporter: CallReporter) -> None:
    @robust_entrypoint(apology="", on_failure="leave")
    async def entry(context: Any) -> None:
        raise ValueError

    context = Context()
    await entry(context)
    assert context.deleted == 0 and len(context.ended) == 1


async def test_where_nobody_takes_calls_over_the_room_is_closed(reporter: CallReporter) -> None:
    @robust_entrypoint(apology="", on_failure="handover")
    async def entry(context: Any) -> None:
        raise ValueError

    context = Context()
    context.proc = Some(executor_type="thread")
    await entry(context)
    assert context.deleted == 1


async def test_a_call_that_ended_is_no_failure(reporter: CallReporter) -> None:
    @robust_entrypoint
    async def entry(context: Any) -> None:
        raise CallEnded("the caller has left")

    context = Context()
    await entry(context)
    assert reporter._errors == Counter() and context.deleted == 0


class Session(rtc.EventEmitter[Any]):
    tts = None

    def __init__(self) -> None:
        super().__init__()
        self.input = Some(set_audio_enabled=lambda enabled: None)

    def interrupt(self, *, force: bool) -> None:
        raise RuntimeError("the session isn't running")


@pytest.mark.parametrize(
    ("reason", "deleted"), [(CloseReason.ERROR, 1), (CloseReason.PARTICIPANT_DISCONNECTED, 0)], ids=["error", "left"]
)
async def test_a_session_that_closed_for_an_error_leaves_no_silent_room(
    reason: CloseReason, deleted: int, reporter: CallReporter
) -> None:
    session = Session()

    @robust_entrypoint(apology="Sorry.", on_failure="close")
    async def entry(context: Any) -> None:
        for observer in session_metrics._observers["AJ_1"]:
            observer(session)  # type: ignore[arg-type]

    context = Context()
    await entry(context)
    error = LLMError(timestamp=0, label="x", error=APIStatusError("no", status_code=500), recoverable=False)
    session.emit("close", CloseEvent(reason=reason, error=error if deleted else None))
    await asyncio.gather(*call_failure._tasks)
    assert context.deleted == deleted and len(context.ended) == deleted
    assert reporter._errors == Counter(), "its session's errors are counted where they come from"


def test_an_error_that_cannot_be_marked_is_always_new() -> None:
    assert is_new(3) and is_new(3)
    error = ValueError()
    assert is_new(error) and not is_new(error)
