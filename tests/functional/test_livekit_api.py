"""LiveKit's API as the daemon uses it: loaded late, one time-out for all, and nothing that it answers does harm."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from functional.daemon import Daemon, stub
from functional.test_rescue import speaking
from functional.twirp import KEY, SECRET, serving, written
from mindbot_supervisor.recovery.livekit import ApiError, LiveKitApi, NotFound

HTTP = "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {kind}\r\n\r\n"


def head(status: str, kind: str = "application/json") -> bytes:
    return HTTP.format(status=status, kind=kind).encode()


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        pytest.param([head("200 OK"), b"\xff\xff\xff"], "cannot be read", id="garbage"),
        pytest.param([head("200 OK"), b'{"participants": []}'], "cannot be read", id="JSON"),
        pytest.param([head("200 OK", "text/html"), b"<html>a proxy's page</html>"], "cannot be read", id="a page"),
        pytest.param([head("500 No")], "answered 500 to", id="no words"),
        pytest.param([head("500 No"), b"[1, 2]"], "answered 500 to", id="an error that is a list"),
        pytest.param([head("500 No"), b'{"code": {"x": 1}}'], "answered 500 to", id="a code that is an object"),
        pytest.param([head("429 No"), b'{"code": "resource_exhausted"}'], "(resource_exhausted)", id="too many"),
        pytest.param([head("403 No"), b'{"code": "x\\u001b[2J"}'], "answered 403 to RoomService/L", id="escapes"),
        pytest.param([head("502 No", "text/html"), b"<html>" * 10], "answered 502 to", id="a proxy's error"),
        pytest.param([b"no HTTP at all\r\n\r\n"], "cannot reach livekit", id="no HTTP"),
        pytest.param([], "cannot reach livekit", id="nothing"),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"x"], "cannot reach livekit", id="cut off"),
    ],
)
async def test_whatever_is_answered_is_one_plain_sentence(pieces, words):
    async with speaking(*pieces) as (port, _):
        api = LiveKitApi(f"ws://127.0.0.1:{port}", KEY, SECRET, 10.0)
        with pytest.raises(ApiError) as failed:
            await api.participants("r")
        await api.close()
    said = str(failed.value)
    assert words in said
    assert "\n" not in said and "\x1b" not in said and SECRET not in said and "eyJ" not in said


@pytest.mark.parametrize("pieces", [[b""], [head("200 OK")]], ids=["silent at once", "silent after the head"])
async def test_a_server_that_says_nothing_more_is_given_up_in_time(pieces):
    async with speaking(*pieces, pause=30.0) as (port, _):
        api = LiveKitApi(f"ws://127.0.0.1:{port}", KEY, SECRET, 0.3)
        await api._connected()  # what has to be loaded is no part of it
        began = time.monotonic()
        with pytest.raises(ApiError, match=r"within 0\.3 s"):
            await api.rooms(["r"])
        assert time.monotonic() - began < 5
        await api.close()


async def test_a_failure_is_not_tried_again_elsewhere_by_the_library():
    async with speaking(head("503 No")) as (port, heads):
        api = LiveKitApi(f"ws://127.0.0.1:{port}", KEY, SECRET, 10.0)
        with pytest.raises(ApiError, match="503"):
            await api.dispatches("r")
        await api.close()
    assert len(heads) == 1


async def test_what_is_not_there_is_told_apart():
    async with speaking(head("404 No"), b'{"code": "not_found"}') as (port, _):
        api = LiveKitApi(f"ws://127.0.0.1:{port}", KEY, SECRET, 10.0)
        with pytest.raises(NotFound):
            await api.remove("r", "somebody")
        assert await api.participants("r") == []
        await api.close()


async def test_of_the_rooms_that_were_asked_for_those_are_told_that_exist():
    async with serving() as twirp:
        twirp.call("here", "AJ_1")
        api = LiveKitApi(twirp.url, KEY, SECRET, 10.0)
        assert await api.rooms(["here", "gone"]) == {"here"}
        await api.close()


async def test_jobs_come_with_their_worker_and_their_state():
    state = {"participant_identity": "a", "worker_id": "AW_1", "status": "JS_SUCCESS"}
    listed = {"agent_dispatches": [{"id": "AD_1", "state": {"jobs": [{"id": "AJ_1", "state": state}]}}]}
    async with speaking(head("200 OK"), written("ListDispatch", listed)) as (port, _):
        api = LiveKitApi(f"ws://127.0.0.1:{port}", KEY, SECRET, 10.0)
        ((job,),) = [each.jobs for each in await api.dispatches("r")]
        await api.close()
    assert (job.id, job.type, job.identity, job.worker_id, job.is_running) == ("AJ_1", "JT_ROOM", "a", "AW_1", False)


async def test_credentials_of_netrc_and_a_short_secret_are_no_matter(tmp_path, monkeypatch, recwarn):
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with speaking(head("200 OK")) as (port, heads):
        api = LiveKitApi(f"ws://127.0.0.1:{port}", KEY, "secret", 10.0)
        assert await api.participants("r") == []
        await api.close()
    assert b"authorization: bearer ey" in heads[0].lower()
    assert not [each for each in recwarn if "HMAC" in str(each.message)]


def loaded(daemon: Daemon) -> bool:
    """Whether the daemon has protobuf's library mapped, as livekit-api needs it."""
    return "google/_upb" in Path(f"/proc/{daemon.process.pid}/maps").read_text()


@pytest.mark.skipif("linux" not in sys.platform, reason="reads /proc")
async def test_it_is_loaded_once_the_workers_are_ready_and_not_before(tmp_path):
    async with serving() as twirp:
        environ = {"LIVEKIT_URL": twirp.url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
        with Daemon(tmp_path, "--workers", "2", *stub("slow_boot"), environ=environ) as daemon:
            await asyncio.to_thread(daemon.wait, "worker.spawned", worker="1.1")
            assert not loaded(daemon)
            await asyncio.to_thread(daemon.ready, 2)
            await asyncio.to_thread(daemon.until, lambda: loaded(daemon))
            assert daemon.terminate() == 0
            assert daemon.errors == ""
