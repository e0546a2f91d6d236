"""One worker's word against another's: nothing is removed, dispatched or recovered while they do not agree."""

import asyncio
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from functional.daemon import Daemon
from functional.test_rescue import CALL, JOB, ROOM, eventually, recover, rescuing
from functional.twirp import KEY, SECRET, serving
from mindbot_supervisor.core.calls.recovery_state import Contested, Recovered
from mindbot_supervisor.recovery.call_journals import Journals
from mindbot_supervisor.recovery.dispatch_attempt import Watch
from mindbot_worker.protocol import heartbeat

WORKER = Path(__file__).with_name("caller_worker.py")
CHANGES = {"RemoveParticipant", "CreateDispatch", "DeleteDispatch"}
THEIRS = {"room": "r", "job": "AJ_1", "identity": "agent-AJ_1"}
INNOCENT = [[0.0, {"calls": [THEIRS], "worker_id": "AW_innocent"}]]


def telling(folder: Path, url: str, steps: dict[int, list], **settings: str) -> Daemon:
    """A daemon whose workers name calls by these steps, each slot its own; ready is who has sent a heartbeat."""
    words = [sys.executable, str(WORKER), *(f"{slot}={json.dumps(each)}" for slot, each in steps.items())]
    environ = {"LIVEKIT_URL": url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
    environ |= {f"MINDBOT_{name}": value for name, value in settings.items()}
    environ |= {"MINDBOT_WORKER__HEARTBEAT": "required"}
    return Daemon(folder, "--workers", "2", "--command", shlex.join(words), environ=environ)


@pytest.mark.parametrize(
    "claimed",
    [
        pytest.param(THEIRS, id="all of it"),
        pytest.param({**THEIRS, "job": "AJ_made_up"}, id="the agent in the room"),
        pytest.param({"room": "r", "job": "AJ_1"}, id="the job"),
    ],
)
async def test_the_agent_of_a_living_worker_is_left_alone_when_another_that_named_it_dies(tmp_path, claimed):
    async with serving() as twirp:
        twirp.call("r", "AJ_1")
        now, end = tmp_path / "now", tmp_path / "end"
        liar = [[str(now), {"calls": [claimed]}], [str(end), None]]
        with telling(tmp_path, twirp.url, {0: INNOCENT, 1: liar}) as daemon:
            await asyncio.to_thread(daemon.wait, "call.started", room="r", worker="0.1")
            await asyncio.to_thread(daemon.ready, 2)
            now.touch()
            told = await asyncio.to_thread(daemon.wait, "call.contested", room="r")
            assert (told["worker"], told["rival"]) == ("1.1", "0.1")
            end.touch()
            await asyncio.to_thread(daemon.wait, "worker.exited", worker="1.1")
            await asyncio.to_thread(daemon.wait, "worker.ready", worker="1.2")
            assert twirp.agents("r") == ["agent-AJ_1"]
            assert not CHANGES & set(twirp.asked)
            calls = daemon.status()["calls"]
            assert (calls["active"], calls["lost"], calls["recovered"]) == (1, 0, 0)
            assert not daemon.events("call.recovering")
            shown = daemon.worker("0.1")["calls"]
            assert [call["job"] for call in shown] == ["AJ_1"]


async def test_the_call_of_the_dead_is_not_recovered_while_a_living_worker_says_it_has_it(tmp_path):
    async with serving() as twirp:
        twirp.call("r", "AJ_1")
        now, end = tmp_path / "now", tmp_path / "end"
        dying, claiming = [[0.0, {"calls": [THEIRS]}], [str(end), None]], [[str(now), {"calls": [THEIRS]}]]
        with telling(tmp_path, twirp.url, {0: dying, 1: claiming}) as daemon:
            await asyncio.to_thread(daemon.wait, "call.started", room="r", worker="0.1")
            now.touch()
            await asyncio.to_thread(daemon.wait, "call.contested", worker="1.1")
            end.touch()
            await asyncio.to_thread(daemon.wait, "worker.exited", worker="0.1")
            told = await asyncio.to_thread(daemon.wait, "call.contested", worker="0.1")
            assert told["rival"] == "1.1"
            assert not CHANGES & set(twirp.asked)


async def test_a_made_up_call_in_the_room_of_another_worker_brings_no_second_agent(tmp_path):
    async with serving() as twirp:
        twirp.call("r", "AJ_1")
        end = tmp_path / "end"
        liar = [[0.0, {"calls": [{"room": "r", "job": "AJ_made_up", "identity": "nobody"}]}], [str(end), None]]
        with telling(tmp_path, twirp.url, {0: INNOCENT, 1: liar}) as daemon:
            for worker in ("0.1", "1.1"):
                await asyncio.to_thread(daemon.wait, "call.started", room="r", worker=worker)
            end.touch()
            told = await asyncio.to_thread(daemon.wait, "call.contested", job="AJ_made_up")
            assert "LiveKit does not know this job" in told["detail"]
            assert not CHANGES & set(twirp.asked)
            assert twirp.agents("r") == ["agent-AJ_1"]


async def test_the_agent_of_another_host_is_left_alone(tmp_path):
    async with serving() as twirp:
        twirp.call("far", "AJ_far")
        liar = [[0.5, {"calls": [{"room": "far", "job": "AJ_made_up", "identity": "agent-AJ_far"}]}], [1.5, None]]
        with telling(tmp_path, twirp.url, {1: liar}) as daemon:
            told = await asyncio.to_thread(daemon.wait, "call.contested", room="far")
            assert "that of another job, AJ_far" in told["detail"]
            assert not CHANGES & set(twirp.asked)
            assert twirp.agents("far") == ["agent-AJ_far"]


async def test_a_job_that_livekit_knows_as_a_living_workers_is_left_alone(tmp_path):
    async with serving() as twirp:
        twirp.call("r", "AJ_1")
        twirp.dispatches["r"][0]["state"]["jobs"][0]["state"]["worker_id"] = "AW_innocent"
        innocent, end = [[0.0, {"worker_id": "AW_innocent"}]], tmp_path / "end"
        liar = [[0.0, {"calls": [THEIRS]}], [str(end), None]]
        with telling(tmp_path, twirp.url, {0: innocent, 1: liar}) as daemon:
            await asyncio.to_thread(daemon.wait, "call.started", room="r", worker="1.1")
            await asyncio.to_thread(daemon.ready, 2)
            end.touch()
            told = await asyncio.to_thread(daemon.wait, "call.contested", room="r")
            assert "a job of worker 0.1" in told["detail"]
            assert not CHANGES & set(twirp.asked)


# -- what LiveKit and the journal say of a single attempt --------------------------------------------------------------


async def test_where_something_speaks_against_it_an_attempt_changes_nothing(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        seen = []
        watch = Watch(speaks_against=lambda listed: seen.append(listed) or "somebody else has it")
        for moved in (False, True):
            assert await rescuer.recover(recover(moved=moved), watch) == Contested("somebody else has it")
        assert [(job.id, job.identity, job.running) for job in seen[0]] == [(JOB, CALL.identity, True)]
        assert not CHANGES & set(twirp.asked)


async def test_not_even_a_dead_agent_is_taken_out_of_a_room_without_callers(tmp_path):
    async with rescuing(tmp_path) as (twirp, rescuer):
        twirp.hang_up(ROOM)
        answer = await rescuer.recover(recover(), Watch(speaks_against=lambda _: "somebody else has it"))
        assert answer == Contested("somebody else has it")
        assert not CHANGES & set(twirp.asked)


HOLDER = """
import sys, time
from pathlib import Path
from mindbot_worker.jobs.call_journal import Journal
kept = Journal(Path(sys.argv[1]), sys.argv[2])
kept.add([{"id": "item_1"}])
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process, as a job's, that has the journal of the call open."""
    path = tmp_path / heartbeat.journal_name(ROOM, JOB)
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path), ROOM], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


async def test_a_call_whose_journal_a_living_process_writes_is_left_alone_and_the_journal_with_it(tmp_path, holder):
    async with rescuing(tmp_path) as (twirp, rescuer):
        answer = await rescuer.recover(recover(seconds=5))
        assert answer == Contested("a living process still writes the journal of this call")
        assert not CHANGES & set(twirp.asked)
        assert rescuer.forget(ROOM, JOB) == {heartbeat.journal_name(ROOM, JOB)}
        assert (tmp_path / heartbeat.journal_name(ROOM, JOB)).exists()


async def test_a_job_process_that_is_just_ending_is_waited_for(tmp_path, holder):
    async with rescuing(tmp_path) as (twirp, rescuer):
        attempt = asyncio.create_task(rescuer.recover(recover(seconds=5)))
        await eventually(lambda: "ListDispatch" in twirp.asked)
        await asyncio.sleep(0.2)
        holder.kill()
        assert isinstance(await attempt, Recovered)


async def test_a_call_that_is_moved_has_a_living_agent_who_writes_its_journal(tmp_path, holder):
    async with rescuing(tmp_path) as (_, rescuer):
        assert isinstance(await rescuer.recover(recover(moved=True, seconds=5), Watch(lambda: True)), Recovered)


def test_the_lock_goes_along_when_a_journal_is_cut_down(tmp_path, monkeypatch):
    from mindbot_worker.jobs import call_journal

    monkeypatch.setattr(call_journal, "SIZE_MAX", 1000)
    kept = call_journal.Journal(tmp_path / heartbeat.journal_name(ROOM, JOB), ROOM)
    journals = Journals(tmp_path)
    for number in range(100):
        kept.add([{"id": f"item_{number}", "text": "x" * 50}])
        assert journals.is_held(heartbeat.journal_name(ROOM, JOB))
    kept.remove()
    assert not journals.is_held(heartbeat.journal_name(ROOM, JOB))
