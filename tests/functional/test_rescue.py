"""The recipe of a recovery, against a stand-in of LiveKit's API that misbehaves as told."""

import asyncio
import os
import time
from contextlib import asynccontextmanager

import pytest

from functional.twirp import KEY, SECRET, job_of, person, serving, written
from mindbot_supervisor.core.actions import Recover
from mindbot_supervisor.core.calls.recovery_state import Alone, Failed, Recovered
from mindbot_supervisor.recovery import livekit
from mindbot_supervisor.recovery.dispatch_attempt import Watch
from mindbot_supervisor.recovery.livekit import WARM, ApiError, LiveKitApi, NotFound, base_url
from mindbot_supervisor.recovery.livekit_records import Dispatch
from mindbot_supervisor.recovery.recovery_tasks import Rescuer
from mindbot_worker.protocol import heartbeat
from mindbot_worker.protocol.heartbeat import Call

ROOM, JOB = "r/../1", "AJ_1"
CALL = Call(ROOM, JOB, f"agent-{JOB}")


@asynccontextmanager
async def rescuing(tmp_path, *, secret=SECRET, patience=0.5, agent_name="", url=""):
    async with serving() as twirp:
        rescuer = Rescuer(LiveKitApi(url or twirp.url, KEY, secret, patience), tmp_path, agent_name)
        twirp.call(ROOM, JOB, metadata='{"of": "the user"}', agent_name="bot", attributes={"theirs": "1"})
        try:
            yield twirp, rescuer
        finally:
            await rescuer.close()


async def eventually(fact):
    async with asyncio.timeout(5):
        while not fact():  # noqa: ASYNC110 - the stand-in has no events
            await asyncio.sleep(0.01)


def recover(*, attempt=1, seconds=2.0, **fields):
    return Recover(fields.pop("call", CALL), attempt, seconds, **fields)


async def test_the_old_agent_is_taken_out_and_a_new_one_dispatched_as_it_was(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        answer = await rescuer.recover(recover())
        assert isinstance(answer, Recovered)
        assert twirp.agents(ROOM) == [answer.identity] != [CALL.identity]
        (made,) = twirp.dispatches[ROOM]
        assert (made["agent_name"], made["metadata"]) == ("bot", '{"of": "the user"}')
        journal = heartbeat.journal_name(ROOM, JOB)
        assert made["attributes"] == {"theirs": "1", heartbeat.JOURNAL: journal, heartbeat.RECOVERS: JOB}


async def test_what_an_attempt_has_learned_goes_over_to_the_next_daemon(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.joins_after = None
        interrupted = asyncio.create_task(rescuer.recover(recover()))
        await eventually(lambda: "CreateDispatch" in twirp.asked)
        known = rescuer.known()
        interrupted.cancel()
        await asyncio.gather(interrupted, return_exceptions=True)
        twirp.dispatches[ROOM].clear()
        twirp.joins_after = 0.05
        other = Rescuer(LiveKitApi(twirp.url, KEY, SECRET, 0.5), tmp_path, "")
        other.remember(known)
        try:
            assert isinstance(await other.recover(recover()), Recovered)
        finally:
            await other.close()
        (made,) = twirp.dispatches[ROOM]
        assert (made["agent_name"], made["metadata"]) == ("bot", '{"of": "the user"}')


async def test_nothing_is_dispatched_to_a_room_without_a_caller(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.hang_up(ROOM)
        twirp.rooms[ROOM] += [person("recorder", "EGRESS"), person("gone", state="DISCONNECTED")]
        assert await rescuer.recover(recover()) == Alone()
        assert "CreateDispatch" not in twirp.asked
        assert twirp.agents(ROOM) == []  # the dead one would keep the room open


async def test_an_agent_that_was_sent_for_a_caller_who_left_meanwhile_is_called_back(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.joins_after = 5.0
        attempt = asyncio.create_task(rescuer.recover(recover()))
        await eventually(lambda: "CreateDispatch" in twirp.asked)
        twirp.hang_up(ROOM)
        assert await attempt == Alone()
        assert twirp.dispatches[ROOM] == []


async def test_several_calls_are_recovered_side_by_side(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.joins_after = 0.3
        calls = [Call(f"room-{n}", f"AJ_{n}", f"agent-AJ_{n}") for n in range(10)]
        for each in calls:
            twirp.call(each.room, each.job)
        began = time.monotonic()
        answers = await asyncio.gather(*(rescuer.recover(recover(call=each)) for each in calls))
        assert all(isinstance(answer, Recovered) for answer in answers)
        assert time.monotonic() - began < 1.5


async def test_two_calls_of_one_room_get_an_agent_each(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.rooms[ROOM].append(person("agent-AJ_2", "AGENT"))
        twirp.dispatches[ROOM].append({"id": "AD_2", "state": {"jobs": [job_of("AJ_2", "agent-AJ_2")]}})
        second = Call(ROOM, "AJ_2", "agent-AJ_2")
        answers = await asyncio.gather(rescuer.recover(recover()), rescuer.recover(recover(call=second)))
        assert len({answer.identity for answer in answers}) == 2
        assert sorted(twirp.agents(ROOM)) == sorted(answer.identity for answer in answers)


async def test_an_agent_that_keeps_its_identity_is_not_taken_for_the_dead_one(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.call(ROOM, JOB, identity="assistant")
        twirp.identity = "assistant"
        answer = await rescuer.recover(recover(call=Call(ROOM, JOB, "assistant")))
        assert answer == Recovered("assistant")
        assert twirp.agents(ROOM) == ["assistant"]


async def test_a_dispatch_that_no_worker_took_is_offered_again(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.free_from = 1
        assert isinstance(await rescuer.recover(recover(seconds=5)), Recovered)
        assert len(twirp.dispatches[ROOM]) == 1


async def test_when_no_worker_is_free_within_the_deadline_it_says_so(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.joins_after = None
        answer = await rescuer.recover(recover(seconds=0.3))
        assert answer == Failed("no agent came within 0.3 s", nobody=True)


async def test_the_next_attempt_knows_what_to_dispatch_and_leaves_no_second_agent(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.joins_after = None
        await rescuer.recover(recover(seconds=0.3))
        twirp.joins_after = 0.05
        assert isinstance(await rescuer.recover(recover(attempt=2)), Recovered)
        (made,) = twirp.dispatches[ROOM]
        assert (made["agent_name"], made["attributes"]["theirs"]) == ("bot", "1")


async def test_an_agent_that_came_late_is_kept(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.joins_after = 0.4
        assert isinstance(await rescuer.recover(recover(seconds=0.3)), Failed)
        await eventually(lambda: twirp.agents(ROOM) and twirp.rooms[ROOM][-1]["state"] == "ACTIVE")
        (late,) = twirp.agents(ROOM)
        assert await rescuer.recover(recover(attempt=2)) == Recovered(late)


@pytest.mark.parametrize("method", ["ListParticipants", "RemoveParticipant", "CreateDispatch", "DeleteDispatch"])
async def test_one_failed_request_costs_a_pause_and_never_a_second_agent(tmp_path, method):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.fails[method] = 1
        assert isinstance(await rescuer.recover(recover()), Recovered)
        await asyncio.sleep(0.2)
        assert len(twirp.agents(ROOM)) == 1


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        pytest.param({"status": 401}, "livekit refused the credentials (401)", id="401"),
        pytest.param({"status": 500}, "livekit answered 500 to RoomService/", id="500"),
        pytest.param({"delay": 5.0}, "livekit did not answer within 0.2 s", id="slow"),
    ],
)
async def test_where_livekit_does_not_do_its_part_the_attempt_ends_at_its_deadline_and_says_why(tmp_path, fault, why):
    async with rescuing(tmp_path, patience=0.2) as (twirp, rescuer):
        for name, value in fault.items():
            setattr(twirp, name, value)
        began = time.monotonic()
        answer = await rescuer.recover(recover(seconds=0.8))
        assert answer.why.startswith(why)
        assert answer == Failed(answer.why, blind=True)
        assert 0.7 < time.monotonic() - began < 1.5
        twirp.delay = 0.0


async def test_where_nobody_listens_the_attempt_ends_at_its_deadline_and_says_why(tmp_path):
    async with rescuing(tmp_path, url="ws://127.0.0.1:1") as (_, rescuer):
        answer = await rescuer.recover(recover(seconds=0.5))
        assert isinstance(answer, Failed)
        assert answer.blind
        assert answer.why.startswith("cannot reach livekit: ")


async def test_a_wrong_secret_is_refused_and_appears_in_no_message(tmp_path):
    async with rescuing(tmp_path, secret="wrong-secret-0123456789") as (_, rescuer):
        answer = await rescuer.recover(recover(seconds=0.3))
        assert answer == Failed("livekit refused the credentials (401)", blind=True)
        assert "wrong-secret" not in repr(rescuer.__dict__)


async def test_the_agent_of_a_single_participant_is_not_replaced(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.dispatches[ROOM][0]["state"]["jobs"] = [job_of(JOB, CALL.identity, "JT_PUBLISHER")]
        answer = await rescuer.recover(recover())
        assert isinstance(answer, Failed)
        assert answer.final


async def test_a_dispatch_is_known_by_its_id_before_livekit_lists_its_job(tmp_path):
    async with rescuing(tmp_path, agent_name="ours") as (twirp, rescuer):
        (sent,) = twirp.dispatches[ROOM]
        sent["state"]["jobs"] = []
        assert isinstance(await rescuer.recover(recover(call=Call(ROOM, JOB, dispatch=sent["id"]))), Recovered)
        assert [made["agent_name"] for made in twirp.dispatches[ROOM]] == ["bot"]


async def test_a_job_that_a_worker_here_has_started_is_waited_for_and_offered_to_nobody_else(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.joins_after = None
        answer = await rescuer.recover(recover(seconds=2.5), Watch(lambda: True))
        assert answer == Failed("no agent came within 2.5 s")
        assert twirp.asked.count("CreateDispatch") == 1


async def test_a_call_whose_dispatch_is_not_listed_gets_the_agent_of_the_settings(tmp_path):
    async with rescuing(tmp_path, agent_name="ours") as (twirp, rescuer):
        twirp.dispatches[ROOM] = []
        assert isinstance(await rescuer.recover(recover()), Recovered)
        assert twirp.dispatches[ROOM][0]["agent_name"] == "ours"


async def test_the_journal_stays_the_same_from_agent_to_agent(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        await rescuer.recover(recover())
        (made,) = twirp.dispatches[ROOM]
        second = Call(ROOM, made["state"]["jobs"][0]["id"], twirp.agents(ROOM)[0])
        await rescuer.recover(recover(call=second))
        (made,) = twirp.dispatches[ROOM]
        assert made["attributes"][heartbeat.JOURNAL] == heartbeat.journal_name(ROOM, JOB)
        assert made["attributes"][heartbeat.RECOVERS] == second.job


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "x" * 32, "", "a" * 31, "a" * 33])
async def test_a_journals_name_that_was_not_made_here_is_not_passed_on(tmp_path, name):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.dispatches[ROOM][0]["attributes"] = {heartbeat.JOURNAL: name}
        await rescuer.recover(recover())
        assert twirp.dispatches[ROOM][0]["attributes"][heartbeat.JOURNAL] == heartbeat.journal_name(ROOM, JOB)


MOVE = recover(moved=True)
READY = Watch(lambda: True)
"""A worker here has the new agent ready."""


async def test_the_journal_of_a_moved_call_is_not_lost_when_the_old_agent_removes_its_own(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        journal = tmp_path / heartbeat.journal_name(ROOM, JOB)
        journal.write_text("what was said")
        await rescuer.recover(MOVE, READY)
        journal.unlink()
        name = twirp.dispatches[ROOM][0]["attributes"][heartbeat.JOURNAL]
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert (tmp_path / name).read_text() == "what was said"
        assert heartbeat.is_journal_name(name)


async def test_the_new_agent_is_let_in_without_a_journal_too(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        await rescuer.recover(MOVE, READY)
        (path,) = tmp_path.iterdir()
        assert path.name == twirp.dispatches[ROOM][0]["attributes"][heartbeat.JOURNAL]
        assert (path.stat().st_size, path.stat().st_mode & 0o777) == (0, 0o600)


async def test_a_moved_call_has_its_old_agent_until_a_worker_has_the_new_one_ready(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        told, ready = [], []
        watch = Watch(lambda: bool(ready), lambda _: told.append(twirp.agents(ROOM)))
        moving = asyncio.create_task(rescuer.recover(MOVE, watch))
        await eventually(lambda: "CreateDispatch" in twirp.asked)
        await asyncio.sleep(0.3)
        assert twirp.agents(ROOM) == [CALL.identity]
        _, new = twirp.dispatches[ROOM]
        assert new["attributes"][heartbeat.AFTER] == CALL.identity
        assert not list(tmp_path.iterdir()), "the sign for the new agent"
        ready.append(True)
        answer = await moving
        assert told == [[]], "once, with nobody there"
        assert twirp.agents(ROOM) == [answer.identity]
        assert twirp.dispatches[ROOM] == [new]


async def test_a_call_that_no_worker_takes_stays_with_its_agent_and_its_dispatch(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        before = list(twirp.dispatches[ROOM])
        twirp.joins_after = None
        answer = await rescuer.recover(recover(moved=True, seconds=0.3))
        assert answer == Failed("no agent came within 0.3 s", nobody=True, untouched=True)
        assert twirp.agents(ROOM) == [CALL.identity]
        assert twirp.dispatches[ROOM] == before
        twirp.joins_after = 0.05
        assert isinstance(await rescuer.recover(MOVE, READY), Recovered)


async def test_an_agent_that_is_ready_too_late_to_come_in_within_the_deadline_is_called_off(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        late = time.monotonic() + 0.8
        answer = await rescuer.recover(recover(moved=True, seconds=1.0), Watch(lambda: time.monotonic() > late))
        assert answer == Failed("no agent came within 1 s", untouched=True)
        assert twirp.agents(ROOM) == [CALL.identity]
        assert len(twirp.dispatches[ROOM]) == 1


async def test_an_agent_of_another_host_is_let_in_as_soon_as_livekit_tells_that_it_has_the_job(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        answer = await rescuer.recover(recover(moved=True, seconds=5))
        assert isinstance(answer, Recovered)
        assert twirp.agents(ROOM) == [answer.identity]
        assert twirp.asked.count("CreateDispatch") == 1


async def test_an_agent_that_comes_in_without_waiting_takes_the_call_at_once(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.waits = False
        answer = await rescuer.recover(MOVE)
        assert twirp.agents(ROOM) == [answer.identity] != [CALL.identity]


async def test_where_the_old_agent_is_gone_already_the_new_one_waits_for_nothing(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.leave(ROOM, CALL.identity)
        told = []
        answer = await rescuer.recover(MOVE, Watch(left_alone=lambda _: told.append(True)))
        assert isinstance(answer, Recovered)
        assert told == [True]
        (made,) = twirp.dispatches[ROOM]
        assert heartbeat.AFTER not in made["attributes"]
        assert made["attributes"][heartbeat.JOURNAL] == heartbeat.journal_name(ROOM, JOB)


async def test_a_second_move_waits_for_the_agent_of_the_first(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        (tmp_path / heartbeat.journal_name(ROOM, JOB)).write_text("what was said")
        first = await rescuer.recover(MOVE, READY)
        (made,) = twirp.dispatches[ROOM]
        second = Call(ROOM, made["state"]["jobs"][0]["id"], first.identity)
        answer = await rescuer.recover(recover(call=second, moved=True), READY)
        (made,) = twirp.dispatches[ROOM]
        assert made["attributes"][heartbeat.AFTER] == first.identity
        assert twirp.agents(ROOM) == [answer.identity]
        assert (tmp_path / made["attributes"][heartbeat.JOURNAL]).read_text() == "what was said"


async def test_no_dead_agent_is_there_beside_its_successor(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.fails["RemoveParticipant"] = 1
        answer = await rescuer.recover(recover())
        assert isinstance(answer, Recovered)
        assert twirp.agents(ROOM) == [answer.identity]


async def test_the_new_agent_is_asked_for_before_anything_is_cleared_away(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        await rescuer.recover(recover())
        assert twirp.asked[2] == "CreateDispatch"
        assert {"RemoveParticipant", "DeleteDispatch"} < set(twirp.asked[3:])


async def test_a_moved_call_whose_agent_could_not_be_taken_out_at_first_is_moved_all_the_same(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.fails["RemoveParticipant"] = 1
        answer = await rescuer.recover(MOVE, READY)
        assert twirp.agents(ROOM) == [answer.identity]
        assert len(twirp.dispatches[ROOM]) == 1


async def test_forgetting_removes_the_journal_and_starting_those_of_a_dead_daemon(tmp_path):
    async with rescuing(tmp_path) as (_, rescuer):
        kept, old = (tmp_path / heartbeat.journal_name(ROOM, job) for job in (JOB, "AJ_old"))
        strange = tmp_path / "notes.txt"
        for path in (kept, old, strange):
            path.write_text("")
        for path in (old, strange):
            os.utime(path, (1.0, 1.0))
        rescuer.start()
        assert sorted(tmp_path.iterdir()) == sorted([kept, strange])
        rescuer.forget(ROOM, JOB)
        assert list(tmp_path.iterdir()) == [strange]


async def test_the_api_knows_nobody_in_a_room_that_is_not_there_and_says_what_is_missing(tmp_path):
    async with serving() as twirp:
        api = LiveKitApi(twirp.url, KEY, SECRET, 1.0)
        assert await api.participants("none") == []
        with pytest.raises(NotFound):
            await api.remove("none", "x")
        made = await api.create("none", Dispatch("", "bot", deployment="blue"), {"a": "b"})
        assert (made.agent_name, made.deployment, dict(made.attributes)) == ("bot", "blue", {"a": "b"})
        twirp.status = 503
        with pytest.raises(ApiError, match="503"):
            await api.dispatches("none")
        await api.close()


@asynccontextmanager
async def speaking(*pieces, pause=0.02):
    """A server that answers everything so, piece by piece; and the heads of what it was asked."""
    heads = []

    async def answer(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], heads


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


async def test_an_answer_that_comes_in_pieces_is_read_to_its_end():
    whole = written("ListParticipants", {"participants": [{"sid": "PA_1", "identity": "a"}]})
    async with speaking(HEAD, whole[:5], whole[5:]) as (port, _):
        api = LiveKitApi(f"ws://127.0.0.1:{port}", KEY, SECRET, 5.0)
        assert [each.sid for each in await api.participants("r")] == ["PA_1"]
        await api.close()


async def test_an_answer_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(livekit, "ANSWER_MAX", 1000)
    async with speaking(HEAD, b" " * 600, b" " * 600) as (port, _):
        api = LiveKitApi(f"ws://127.0.0.1:{port}", KEY, SECRET, 5.0)
        with pytest.raises(ApiError, match="over 1000 bytes"):
            await api.participants("r")
        await api.close()


async def test_livekit_is_reached_through_the_proxy_that_the_environment_names(monkeypatch):
    async with speaking(HEAD, b"") as (port, heads):
        monkeypatch.setenv("http_proxy", f"http://user:word@127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "other.invalid")
        api = LiveKitApi("ws://livekit.invalid", KEY, SECRET, 5.0)
        assert await api.participants("r") == []
        await api.close()
    head = heads[0].decode()
    assert head.startswith("POST http://livekit.invalid/twirp/livekit.RoomService/ListParticipants ")
    assert "Proxy-Authorization: Basic dXNlcjp3b3Jk" in head


async def test_the_api_has_open_connections_when_a_recovery_begins():
    met = set()

    async def answer(reader, writer):
        while await reader.readuntil(b"\r\n\r\n"):
            met.add(writer)
            await eventually(lambda: len(met) >= WARM)  # all at the same time
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        api = LiveKitApi(f"ws://127.0.0.1:{port}", KEY, SECRET, 5.0)
        api.start()
        await eventually(lambda: len(met) == WARM)
        for each in met:
            assert not each.is_closing()
        await api.close()


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("ws://localhost:7880", "http://localhost:7880"),
        ("wss://x.livekit.cloud/", "https://x.livekit.cloud"),
        ("https://host/behind/a/path", "https://host/behind/a/path"),
    ],
)
def test_the_api_is_where_the_websocket_is(url, base):
    assert base_url(url) == base
