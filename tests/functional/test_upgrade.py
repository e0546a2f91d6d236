"""Upgrade in place: the daemon becomes its installed version, and neither workers nor calls notice."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from functional.daemon import Daemon, stub
from functional.twirp import KEY, SECRET, serving
from mindbot_supervisor.core.workers.snapshot import VERSION
from mindbot_supervisor.errors import Refused
from mindbot_supervisor.upgrade import state_file

WORKER = {"MINDBOT_WORKER__HEARTBEAT": "required"}
BEGUN_ANEW = "begun anew by the upgraded supervisor"


def descriptors(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


def test_ten_upgrades_keep_pid_workers_calls_and_descriptors(tmp_path):
    with Daemon(tmp_path, "--workers", "2", *stub("--calls", "1"), "--http", "127.0.0.1:0", environ=WORKER) as daemon:
        daemon.ready(2)
        pids = {row["worker"]: row["pid"] for row in daemon.status()["workers"]}
        counts = []
        for turn in range(10):
            done = daemon.client("upgrade", timeout=60)
            assert done.returncode == 0, done.stderr
            daemon.until(lambda turn=turn: len(daemon.events("supervisor.upgraded")) == turn + 1)
            counts.append(descriptors(daemon))
        status = daemon.status()
        assert {row["worker"]: row["pid"] for row in status["workers"]} == pids
        assert status["supervisor"]["pid"] == daemon.process.pid
        assert status["calls"]["active"] == 2
        assert status["calls"]["lost"] == 0
        assert not daemon.events("worker.exited")
        assert max(counts) <= counts[0] + 1, "no descriptor is left open by an upgrade"
        # it still supervises: a death is noticed, and answered
        os.kill(pids["0.1"], signal.SIGKILL)
        exited = daemon.wait("worker.exited", worker="0.1")
        assert (exited["verdict"], exited["calls"]) == ("signal", 1)
        daemon.wait("worker.ready", worker="0.2")
        daemon.process.send_signal(signal.SIGUSR2)
        daemon.until(lambda: len(daemon.events("supervisor.upgraded")) == 11)
        assert daemon.client("stop", "--now").returncode == 0
        assert daemon.end() == 0
        assert daemon.left_behind() == []
        assert not daemon.stray


async def test_a_recovery_that_is_open_is_carried_on_by_the_new_version(tmp_path):
    """Nobody takes the dispatch before the upgrade, and somebody does after it."""
    async with serving() as twirp:
        twirp.call("0.1-r0", "0.1-j0", metadata="theirs")
        twirp.free_from = 10**6
        livekit = {"LIVEKIT_URL": twirp.url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
        environ = {**WORKER, **livekit, "MINDBOT_RECOVERY__DEADLINE": "60"}
        with Daemon(tmp_path, "--workers", "2", *stub("call", "segv@0.1"), environ=environ) as daemon:
            await asyncio.to_thread(daemon.wait, "call.recovering", room="0.1-r0")
            done = await asyncio.to_thread(daemon.client, "upgrade", timeout=60)
            assert done.returncode == 0, done.stderr
            await asyncio.to_thread(daemon.wait, "supervisor.upgraded")
            again = await asyncio.to_thread(daemon.wait, "call.recovering", detail=BEGUN_ANEW)
            assert (again["room"], again["attempt"]) == ("0.1-r0", 1)
            twirp.free_from = 0
            recovered = await asyncio.to_thread(daemon.wait, "call.recovered", room="0.1-r0")
            assert recovered["identity"] in twirp.agents("0.1-r0")
            assert [each["metadata"] for each in twirp.dispatches["0.1-r0"]] == ["theirs"]
            calls = (await asyncio.to_thread(daemon.status))["calls"]
            assert (calls["recovered"], calls["lost"]) == (1, 0)


def test_the_last_minute_of_a_worker_is_remembered_across_an_upgrade(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("print_json"), environ=WORKER) as daemon:
        daemon.ready(1)
        daemon.wait(text="stray text, no JSON")
        assert daemon.client("upgrade", timeout=60).returncode == 0
        daemon.wait("supervisor.upgraded")
        os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
        daemon.wait("worker.ready", worker="0.2")
        daemon.until(lambda: (daemon.state_dir / "flight" / "flight.jsonl").exists())
        (line,) = (daemon.state_dir / "flight" / "flight.jsonl").read_text().splitlines()
        entry = json.loads(line)
        assert [change["event"] for change in entry["changes"]] == ["worker.spawned", "worker.ready", "worker.exited"]
        assert any("stray text" in text for text in entry["log"])
        assert daemon.terminate() == 0


def test_a_version_that_cannot_start_is_refused_and_the_pool_is_untouched(tmp_path):
    settings = tmp_path / "mindbot.toml"
    settings.write_text("")
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=WORKER) as daemon:
        daemon.ready(1)
        settings.write_text("[pool]\nworkres = 1\n")
        done = daemon.client("upgrade", timeout=60)
        assert done.returncode == 1
        assert "the new version cannot start" in done.stderr
        assert "workres" in done.stderr
        assert daemon.wait("upgrade.refused")["level"] == "error"
        assert daemon.worker("0.1")["phase"] == "ready"
        settings.write_text("")
        assert daemon.client("upgrade", timeout=60).returncode == 0
        daemon.wait("supervisor.upgraded")
        assert daemon.terminate() == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "does not fit this version"),
        ("not json", "cannot be read: it is not JSON"),
        (json.dumps({"version": VERSION}), "does not fit this version"),
        (json.dumps({"version": VERSION + 1, "pool": {}}), f"is of version {VERSION + 1}; this program reads"),
    ],
)
def test_a_state_of_another_shape_or_version_is_refused(text, why):
    fd = os.memfd_create("test")
    os.write(fd, text.encode())
    with pytest.raises(Refused, match=why):
        state_file.read(fd)
    os.close(fd)
