"""Who is in the room of a job, and whether it is gone: reported with the call, told with the heartbeat."""

from __future__ import annotations

from types import SimpleNamespace as Some
from typing import Any
from unittest.mock import MagicMock

import pytest
from livekit import rtc

from mindbot_worker.jobs import room_watch
from mindbot_worker.jobs.disconnects import Disconnects, Tolerance
from mindbot_worker.jobs.reporter import CallReporter
from mindbot_worker.jobs.room_watch import CallerPresence
from mindbot_worker.protocol import heartbeat
from mindbot_worker.protocol.job_reports import Report, decode
from mindbot_worker.runtime.call_records import CallRecords, StartedCall

KIND = rtc.ParticipantKind


class Room(rtc.EventEmitter[Any]):
    def __init__(self) -> None:
        super().__init__()
        self.connected = True
        self.remote_participants: dict[str, Any] = {}

    def isconnected(self) -> bool:
        return self.connected

    def come(self, kind: int) -> None:
        self.remote_participants[str(len(self.remote_participants))] = Some(kind=kind)


class Outbox:
    def __init__(self) -> None:
        self.sent: list[Report] = []

    def send(self, data: bytes) -> bool:
        report = decode(data)
        assert report is not None
        self.sent.append(report)
        return True


@pytest.fixture
async def job(monkeypatch: Any) -> Any:
    monkeypatch.setattr(room_watch, "_EVERY", 1000.0)
    room, outbox = Room(), Outbox()
    reporter = CallReporter("AJ_1", outbox)  # type: ignore[arg-type]
    connection = Disconnects(room, reporter, Tolerance(3, 300.0))
    watching = room_watch.watch(room, reporter, connection)
    yield Some(room=room, sent=outbox.sent, last=lambda: outbox.sent[-1])
    connection.stop()
    watching.stop()


@pytest.mark.parametrize(
    ("kind", "present"),
    [
        (KIND.PARTICIPANT_KIND_STANDARD, True),
        (KIND.PARTICIPANT_KIND_SIP, True),
        (KIND.PARTICIPANT_KIND_CONNECTOR, True),
        (KIND.PARTICIPANT_KIND_AGENT, False),
        (KIND.PARTICIPANT_KIND_EGRESS, False),
        (KIND.PARTICIPANT_KIND_INGRESS, False),
    ],
)
async def test_callers_are_somebody_and_agents_and_recorders_are_not(job: Any, kind: int, present: bool) -> None:
    job.room.come(kind)
    job.room.emit("participant_connected", Some())
    assert job.last().present is present


async def test_who_leaves_is_noticed_and_each_change_is_sent_once(job: Any) -> None:
    job.room.come(KIND.PARTICIPANT_KIND_STANDARD)
    job.room.emit("participant_connected", Some())
    job.room.remote_participants.clear()
    for _ in range(5):
        job.room.emit("participant_disconnected", Some())
    changes = [report.present for report in job.sent]
    assert changes[-1] is False
    assert len(job.sent) < 6


async def test_before_the_job_is_connected_nobody_knows(job: Any) -> None:
    job.sent.clear()
    job.room.connected = False
    job.room.emit("participant_connected", Some())
    assert not job.sent or job.last().present is not True


@pytest.mark.parametrize(
    ("reason", "gone"),
    [
        (rtc.DisconnectReason.ROOM_DELETED, True),
        (rtc.DisconnectReason.ROOM_CLOSED, True),
        (rtc.DisconnectReason.PARTICIPANT_REMOVED, True),
        (rtc.DisconnectReason.CLIENT_INITIATED, True),
        (rtc.DisconnectReason.SIGNAL_CLOSE, False),
        (rtc.DisconnectReason.SERVER_SHUTDOWN, False),
    ],
)
async def test_a_room_is_gone_for_good_by_the_reason_and_not_by_a_lost_connection(
    job: Any, reason: Any, gone: bool
) -> None:
    job.room.connected = False
    job.room.emit("disconnected", reason)
    assert (bool(job.sent) and job.last().gone_at is not None) is gone


async def test_a_job_that_connects_again_has_its_room_again(job: Any) -> None:
    job.room.connected = False
    job.room.emit("disconnected", rtc.DisconnectReason.CLIENT_INITIATED)
    job.room.connected = True
    job.room.emit("reconnected")
    assert job.last().gone_at is None


async def test_a_room_that_is_none_tells_nothing() -> None:
    outbox = Outbox()
    CallerPresence(MagicMock(), CallReporter("AJ_1", outbox)).look()  # type: ignore[arg-type]
    assert not outbox.sent


def test_the_heartbeat_tells_of_each_call_who_is_in_it_and_since_when_its_room_is_gone() -> None:
    calls = CallRecords(0.0)
    calls.opened(StartedCall("r", "AJ_1", "agent", 77, 1.0), 0.0)
    (call,) = calls.live(1.0)
    assert (call.present, call.gone) == (None, None)
    assert calls.reported(Report("AJ_1", 1, present=True), 1.0), "to be told at once"
    assert calls.live(1.0)[0].present is True
    assert calls.reported(Report("AJ_1", 2, present=False, gone_at=2.0), 3.0)
    (call,) = calls.live(5.0)
    assert (call.present, call.gone) == (False, 3.0)
    beat = heartbeat.Beat(1, heartbeat.READY, calls=(call,))
    assert heartbeat.decode(heartbeat.encode(beat)).calls == (call,)


@pytest.mark.parametrize("fields", [{"present": 1}, {"present": "yes"}, {"gone_at": "now"}, {"gone_at": -1}])
def test_anything_else_is_no_report(fields: dict[str, Any]) -> None:
    from mindbot_worker.protocol.job_reports import encode

    assert decode(encode(Report("AJ_1", 1, **fields))) is None
