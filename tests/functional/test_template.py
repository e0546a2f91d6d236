"""Workers forked from a template: as good as any, and whatever dies, the pool is whole again."""

import os
import signal
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from functional.daemon import Daemon

pytestmark = pytest.mark.timeout(400)
START = 120.0
"""Seconds until workers that import LiveKit are ready, on a machine that is busy."""

AGENT = """
    import os
    from pathlib import Path
    from livekit.agents import AgentServer, JobContext, JobProcess

    VERSION = "one"
    {extra}

    def prepare(process: JobProcess) -> None:
        Path(os.environ["MARKS"], f"{{os.getpid()}}.{{os.environ['MINDBOT_WORKER_NAME']}}.{{VERSION}}").touch()
        print("prepared in", os.environ["MINDBOT_WORKER_NAME"])

    server = AgentServer(setup_fnc=prepare)

    @server.rtc_session()
    async def serve(context: JobContext) -> None:
        {session}
"""


def write_agent(folder: Path, *, extra: str = "", session: str = "context.shutdown()", version: str = "one") -> None:
    code = textwrap.dedent(AGENT).format(extra=extra, session=session).replace('"one"', f'"{version}"')
    (folder / "forked_agent.py").write_text(code)


def pool(folder: Path, *arguments: str, workers: int = 2, **settings: str) -> Daemon:
    (folder / "marks").mkdir(exist_ok=True)
    environ = {
        "LIVEKIT_URL": "ws://127.0.0.1:9",
        "LIVEKIT_API_KEY": "devkey",
        "LIVEKIT_API_SECRET": "secret" * 6,
        "MINDBOT_WORKER__REGISTERED": "false",
        "MARKS": str(folder / "marks"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])),
        **{f"MINDBOT_{name}": value for name, value in settings.items()},
    }
    return Daemon(folder, "--agent", "forked_agent:server", "--workers", str(workers), *arguments, environ=environ)


def template(daemon: Daemon) -> psutil.Process:
    return next(each for each in psutil.Process(daemon.process.pid).children() if each.name() == "mindbot-image")


def jobserver(daemon: Daemon) -> psutil.Process:
    return next(each for each in template(daemon).children() if each.name() == "mindbot-jobs")


def whole(daemon: Daemon, workers: int = 2) -> None:
    daemon.ready(workers, START)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def forked(tmp_path):
    write_agent(tmp_path)
    with pool(tmp_path) as daemon:
        whole(daemon)
        yield daemon
        assert daemon.terminate(60) == 0
        assert daemon.left_behind() == []


def test_workers_are_children_of_the_daemon_forked_from_one_image(forked):
    daemon = forked
    assert daemon.events("template.ready")
    for row in daemon.status()["workers"]:
        worker = psutil.Process(row["pid"])
        assert worker.ppid() == daemon.process.pid
        assert worker.name() == f"mb {row['worker']}"
        assert os.getsid(row["pid"]) == row["pid"]
    daemon.wait("worker.output", text="prepared in 0.1", worker="0.1")
    daemon.wait("worker.output", text="prepared in 1.1", worker="1.1")
    daemon.until(lambda: all((row["processes"] or 0) >= 2 for row in daemon.status()["workers"]))


def test_a_killed_worker_is_replaced_from_the_same_image_and_its_job_processes_end(forked):
    daemon, before = forked, template(forked).pid
    row = daemon.worker("0.1")
    jobs = daemon.until(lambda: [p.pid for p in jobserver(daemon).children() if p.name() == "mb 0.1 job"])
    kill(row["pid"])
    daemon.wait("worker.ready", worker="0.2", timeout=START)
    assert template(daemon).pid == before
    daemon.until(lambda: not any(psutil.pid_exists(pid) for pid in jobs))


def test_a_killed_template_costs_no_worker_and_heals_by_itself(forked):
    daemon, before = forked, template(forked).pid
    workers = {row["pid"] for row in daemon.status()["workers"]}
    kill(before)
    daemon.wait("template.lost")
    number = len(daemon.events())
    daemon.wait("template.ready", after=number - 1, timeout=START)
    assert {row["pid"] for row in daemon.status()["workers"]} == workers
    kill(daemon.worker("1.1")["pid"])
    daemon.wait("worker.ready", worker="1.2", timeout=START)
    assert template(daemon).pid != before


def test_a_worker_that_dies_while_there_is_no_template_waits_for_the_next_one(forked):
    daemon = forked
    kill(template(daemon).pid)
    kill(daemon.worker("0.1")["pid"])
    daemon.wait("worker.ready", worker="0.2", timeout=START)
    assert psutil.Process(daemon.worker("0.2")["pid"]).name() == "mb 0.2"


def test_a_killed_job_server_has_its_workers_replaced_behind_a_new_one(forked):
    daemon = forked
    kill(jobserver(daemon).pid)
    for name in ("0.1", "1.1"):
        ended = daemon.wait("worker.exited", worker=name, timeout=START)
        assert (ended["verdict"], ended["reason"]) == ("asked", "template")
    whole(daemon)
    assert {row["worker"] for row in daemon.status()["workers"]} == {"0.2", "1.2"}


def test_an_upgrade_keeps_the_template(forked):
    daemon, before = forked, template(forked).pid
    assert daemon.client("upgrade").returncode == 0
    daemon.wait("supervisor.upgraded")
    kill(daemon.worker("0.1")["pid"])
    daemon.wait("worker.ready", worker="0.2", timeout=START)
    assert template(daemon).pid == before


def test_restarted_workers_run_the_code_that_is_on_disk_now(forked, tmp_path):
    daemon = forked
    write_agent(tmp_path, version="twenty-two")
    assert daemon.client("restart", "all", timeout=START).returncode == 0
    whole(daemon)
    assert daemon.events("template.stale")
    found = daemon.until(lambda: sorted(path.name.split(".", 1)[1] for path in (tmp_path / "marks").glob("*twenty*")))
    assert found == ["0.2.twenty-two", "1.2.twenty-two"]


def test_broken_new_code_stops_the_roll_and_the_old_image_goes_on_serving(forked, tmp_path):
    daemon = forked
    write_agent(tmp_path, extra="raise RuntimeError('half a deployment')")
    assert daemon.client("restart", "all", timeout=START).returncode == 1
    assert "half a deployment" in daemon.wait("template.refused")["detail"]
    daemon.wait("rollout.stopped")
    kept = next(row for row in daemon.status()["workers"] if row["phase"] == "ready")
    kill(kept["pid"])
    daemon.wait("worker.ready", slot=kept["slot"], after=len(daemon.events()) - 1, timeout=START)


def test_the_template_ends_with_a_daemon_that_was_killed_and_workers_finish_by_themselves(tmp_path):
    write_agent(tmp_path)
    with pool(tmp_path) as daemon:
        whole(daemon)
        kill(daemon.process.pid)
        daemon.process.wait(10)
        deadline = time.monotonic() + 60
        while daemon.survivors() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert daemon.survivors() == []


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ("import threading as t, time; t.Thread(target=time.sleep, args=(99,), daemon=True, name='t1').start()", "t1"),
        ("import asyncio; loop = asyncio.new_event_loop()", "event loop"),
    ],
    ids=["thread", "event loop"],
)
def test_an_agent_that_cannot_be_forked_is_started_by_exec_and_the_log_says_why(tmp_path, extra, why):
    write_agent(tmp_path, extra=extra)
    with pool(tmp_path, workers=1) as daemon:
        whole(daemon, 1)
        assert why in daemon.wait("template.refused")["detail"]
        assert not daemon.events("template.ready")
        assert "mindbot_worker" in psutil.Process(daemon.worker("0.1")["pid"]).cmdline()
        assert daemon.terminate(60) == 0
        assert daemon.left_behind() == []


def test_an_agent_that_cannot_be_imported_ends_the_daemon_with_its_own_message(tmp_path):
    write_agent(tmp_path, extra="raise RuntimeError('no such luck')")
    with pool(tmp_path, workers=2) as daemon:
        assert daemon.end(START) == 78
        assert "no such luck" in daemon.errors
        assert daemon.left_behind() == []
        assert not daemon.events("worker.spawned"), "no worker is started for an agent that cannot be used"
        (told,) = [each for each in daemon.events() if "no such luck" in str(each)]
        assert told["event"] == "supervisor.failed", "it is told once"


def test_a_daemon_that_is_told_to_stop_does_not_wait_for_workers_that_are_not_started_yet(tmp_path):
    write_agent(tmp_path, extra="import time; time.sleep(600)")
    with pool(tmp_path, workers=2) as daemon:
        daemon.until(lambda: daemon.worker("1.1"))
        assert daemon.worker("1.1")["pid"] is None
        assert daemon.terminate(60) == 0
        assert [each["verdict"] for each in daemon.events("worker.exited")] == ["asked", "asked"]
        assert not daemon.events("worker.spawned")
        assert daemon.left_behind() == []
