"""The connection of a call: what is logged of its losses, and from when on they are an error."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from types import SimpleNamespace as Some
from typing import Any

import pytest
from livekit import rtc

from mindbot_worker.jobs import notify_error, room_watch, session_metrics
from mindbot_worker.jobs.disconnects import Disconnects, Tolerance
from mindbot_worker.jobs.reporter import CallReporter


class Room(rtc.EventEmitter[Any]):
    async def get_rtc_stats(self) -> Any:
        raise RuntimeError("the room isn't connected")


class Outbox:
    def send(self, _: bytes) -> bool:
        return True


@pytest.fixture
async def call(monkeypatch: Any) -> Any:
    """A watched room with its reporter, in a job of its own."""
    room, reporter = Room(), CallReporter("AJ_1", Outbox())  # type: ignore[arg-type]
    context = Some(job=Some(id="AJ_1", room=Some(name="r")))
    monkeypatch.setattr(notify_error, "get_job_context", lambda required: context)
    session_metrics.watch(reporter)
    connection = Disconnects(room, reporter, Tolerance(3, 300.0))
    room_watch.watch(room, reporter, connection)
    yield Some(room=room, reporter=reporter)
    connection.stop()
    session_metrics.forget(reporter)


def told(caplog: Any) -> list[tuple[str, str]]:
    return [(record.event, record.levelname) for record in caplog.records if hasattr(record, "event")]


async def ignore_worker_signals() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_loss_and_its_end_are_logged_with_the_time_between(call: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    call.room.emit("reconnecting")
    call.room.emit("reconnected")
    call.room.emit("disconnected", rtc.DisconnectReason.CLIENT_INITIATED)
    assert told(caplog) == [
        ("room.reconnecting", "WARNING"),
        ("room.reconnected", "WARNING"),
        ("room.disconnected", "INFO"),
    ]
    assert caplog.records[1].seconds >= 0 and caplog.records[2].reason == "CLIENT_INITIATED"


async def test_two_losses_are_no_error_and_the_third_is_one_with_its_causes(call: Any, caplog: Any) -> None:
    for _ in range(2):
        call.room.emit("reconnecting")
        call.room.emit("reconnected")
    await ignore_worker_signals()
    assert call.reporter._errors == {}
    call.room.emit("connection_quality_changed", None, rtc.ConnectionQuality.QUALITY_POOR)
    call.room.emit("reconnecting")
    await ignore_worker_signals()
    assert call.reporter._errors == Counter(disconnects=1)
    record = next(record for record in caplog.records if getattr(record, "event", "") == "agent.error")
    assert record.kind == "disconnects" and "3 times within 300 s" in record.reason
    assert any("rated a connection of this call so once" in cause for cause in record.causes)
    call.room.emit("reconnected")
    call.room.emit("reconnecting")
    await ignore_worker_signals()
    assert call.reporter._errors == Counter(disconnects=1), "it takes as many again"


async def test_being_cut_off_counts_once_even_after_a_vain_reconnect(call: Any) -> None:
    call.room.emit("reconnecting")
    call.room.emit("reconnected")
    call.room.emit("reconnecting")
    call.room.emit("disconnected", rtc.DisconnectReason.SIGNAL_CLOSE)
    await ignore_worker_signals()
    assert call.reporter._errors == {}


async def test_an_ordinary_end_is_no_loss(call: Any) -> None:
    for _ in range(3):
        call.room.emit("disconnected", rtc.DisconnectReason.ROOM_DELETED)
    await ignore_worker_signals()
    assert call.reporter._errors == {}
