"""The host has nothing left to start workers with: no worker and no slot is blamed, and starting goes on by itself."""

import contextlib
import os
import resource
import signal
import textwrap
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from functional.daemon import Daemon, stub

AT_ONCE = {"MINDBOT_POOL__MAX_STARTING": "60"}
LIVEKIT = {
    "LIVEKIT_URL": "ws://127.0.0.1:9",
    "LIVEKIT_API_KEY": "devkey",
    "LIVEKIT_API_SECRET": "secret" * 6,
    "MINDBOT_WORKER__REGISTERED": "false",
}
START = 120.0


def soft_limit(number: int, hard: int | None = None) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard or resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def limit_of(pid: int, soft: int | None = None) -> int:
    """The soft limit of open files of a process; it is set to `soft`, where that is given."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    if soft is not None:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, before[1]))
    return before[0]


def open_files(pid: int) -> set[int]:
    return {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}


def leave_too_few(daemon: Daemon) -> int:
    """Enough descriptors to be asked and to look after processes, too few to start one; the limit as it was."""
    pid = daemon.process.pid
    pidfds = [number for number in open_files(pid) if "pidfd" in str(Path(f"/proc/{pid}/fd/{number}").readlink())]
    return limit_of(pid, min(pidfds) + 4)


def nobody_is_blamed(daemon: Daemon) -> None:
    for event in ("slot.backoff", "slot.parked", "template.lost", "template.refused"):
        assert not daemon.events(event), daemon.tail(40)


def killed(daemon: Daemon, *names: str) -> None:
    for name in names:  # by the log: a daemon without a descriptor cannot even be asked
        os.kill(daemon.wait("worker.spawned", worker=name)["pid"], signal.SIGKILL)
    for name in names:
        daemon.wait("worker.exited", worker=name)


def told_once_and_over(daemon: Daemon, timeout: float = 60) -> None:
    """It ends by itself, and was one shortage to whoever reads the log."""
    daemon.wait("host.shortage_over", timeout=timeout)
    assert len(daemon.events("host.shortage")) == len(daemon.events("host.shortage_over")) == 1
    nobody_is_blamed(daemon)


def test_many_workers_fit_under_a_low_soft_limit_and_have_it_back(tmp_path):
    with Daemon(
        tmp_path, "--workers", "60", "--command", "sleep 1000", environ=AT_ONCE, before=partial(soft_limit, 64)
    ) as daemon:
        daemon.ready(60, START)
        hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)[1]
        assert limit_of(daemon.process.pid) == hard
        assert {limit_of(row["pid"]) for row in daemon.status()["workers"]} == {64}
        assert daemon.client("upgrade").returncode == 0
        daemon.wait("supervisor.upgraded")
        killed(daemon, "0.1", "59.1")
        for name in ("0.2", "59.2"):
            daemon.wait("worker.ready", worker=name)
            assert limit_of(daemon.worker(name)["pid"]) == 64
        assert limit_of(daemon.process.pid) == hard
        nobody_is_blamed(daemon)
        assert not daemon.events("host.shortage")
        assert daemon.terminate(60) == 0


@pytest.mark.parametrize("soft", [64, 1024])
def test_a_program_finds_the_old_limit_from_its_first_instruction(tmp_path, soft):
    """Not a moment later: what reads it first may size its tables by it."""
    say = f"sh -c 'ulimit -Sn >> {tmp_path}/limits; exec sleep 1000'"
    with Daemon(
        tmp_path, "--workers", "20", "--command", say, environ=AT_ONCE, before=partial(soft_limit, soft)
    ) as daemon:
        daemon.ready(20, START)
        assert (tmp_path / "limits").read_text().split() == [str(soft)] * 20
        assert daemon.terminate(60) == 0


def test_what_cannot_fit_is_refused_at_start_at_a_reload_and_by_scale(tmp_path):
    with Daemon(tmp_path, "--workers", "60", *stub(), before=partial(soft_limit, 100, 100)) as daemon:
        assert daemon.end() == 78
        (line,) = daemon.errors.splitlines()
        assert all(word in line for word in ("pool.workers", "60", "100", "13 workers"))
        assert not daemon.records and not daemon.runtime_dir.exists()
    settings = tmp_path / "mindbot.toml"
    settings.write_text("[pool]\nworkers = 2\n")
    with Daemon(tmp_path, "--command", "sleep 1000", before=partial(soft_limit, 100, 100)) as daemon:
        daemon.ready(2)
        settings.write_text("[pool]\nworkers = 60\n")
        for command in (["reload"], ["scale", "60"]):
            done = daemon.client(*command)
            assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
            assert "13 workers" in done.stderr
        assert "13 workers" in daemon.wait("config.rejected")["detail"]
        daemon.process.send_signal(signal.SIGTTIN)
        daemon.ready(3)
        assert daemon.client("scale", "13").returncode == 0
        daemon.ready(13, START)
        daemon.process.send_signal(signal.SIGTTIN)
        daemon.process.send_signal(signal.SIGUSR1)
        assert len(daemon.wait("supervisor.status")["workers"]) == 13
        assert daemon.terminate() == 0


def test_a_daemon_without_a_descriptor_left_blames_nobody_and_goes_on_when_it_has_some(tmp_path):
    with Daemon(tmp_path, "--workers", "4", *stub(), environ=AT_ONCE) as daemon:
        daemon.ready(4)
        usual = leave_too_few(daemon)
        killed(daemon, "0.1", "1.1", "2.1")
        told = daemon.wait("host.shortage")
        assert (told["level"], "open files" in told["detail"]) == ("error", True)
        row = daemon.until(lambda: daemon.worker("2.2"))
        assert (row["phase"], row["pid"]) == ("starting", None)
        assert daemon.status()["supervisor"]["shortage"]["waiting"] >= 2
        told = daemon.client("explain", "2")
        assert "open files" in told.stdout, told
        time.sleep(3)
        assert len(daemon.events("host.shortage")) == 1 and not daemon.events("host.shortage_over")
        limit_of(daemon.process.pid, usual)
        for name in ("0.2", "1.2", "2.2"):
            daemon.wait("worker.ready", worker=name, timeout=60)
        told_once_and_over(daemon)
        assert daemon.status()["supervisor"]["shortage"] is None
        assert daemon.terminate() == 0
        assert daemon.left_behind() == []


def test_workers_that_wait_for_room_are_called_off_by_a_stop(tmp_path):
    with Daemon(tmp_path, "--workers", "2", *stub()) as daemon:
        daemon.ready(2)
        leave_too_few(daemon)
        killed(daemon, "0.1", "1.1")
        daemon.wait("host.shortage")
        assert daemon.terminate() == 0
        nobody_is_blamed(daemon)


@contextlib.contextmanager
def pids_cgroup(name: str) -> Iterator[Path]:
    """A cgroup of our own with a limit of processes; the test is skipped where we may not make one."""
    mounted = [Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")]
    place = next((each for each in mounted if (each / "cgroup.procs").exists()), mounted[-1]) / f"{name}-{os.getpid()}"
    try:
        place.mkdir()
        if not (place / "pids.max").exists():
            raise OSError("no pids controller")
    except OSError as exc:
        with contextlib.suppress(OSError):
            place.rmdir()
        pytest.skip(f"no cgroup can be made here: {exc}")
    try:
        yield place
    finally:
        deadline = time.monotonic() + 10
        while place.exists() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                place.rmdir()
            time.sleep(0.05)


def enter(cgroup: Path) -> None:
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))


def test_the_pids_limit_of_the_cgroup_blames_nobody(tmp_path):
    with (
        pids_cgroup("mindbot-test-fork") as cgroup,
        Daemon(tmp_path, "--workers", "3", *stub(), environ=AT_ONCE, before=partial(enter, cgroup)) as daemon,
    ):
        daemon.ready(3)
        (cgroup / "pids.max").write_text("1")
        killed(daemon, "0.1", "1.1")
        assert "pids.max" in daemon.wait("host.shortage")["detail"]
        time.sleep(2)
        (cgroup / "pids.max").write_text("max")
        for name in ("0.2", "1.2"):
            daemon.wait("worker.ready", worker=name, timeout=60)
        told_once_and_over(daemon)
        assert not daemon.events("supervisor.bug"), "the daemon itself needs no further thread"
        assert daemon.terminate() == 0


def test_a_worker_that_hits_the_pids_limit_as_it_starts_is_not_to_blame(tmp_path):
    """There is room for its process, and not for its threads."""
    with (
        pids_cgroup("mindbot-test-threads") as cgroup,
        Daemon(tmp_path, "--workers", "2", *stub(), environ=AT_ONCE, before=partial(enter, cgroup)) as daemon,
    ):
        daemon.ready(2)
        tasks = len(psutil.Process(daemon.worker("0.1")["pid"]).threads())
        assert tasks > 2
        taken = int((cgroup / "pids.current").read_text())
        (cgroup / "pids.max").write_text(str(taken - tasks + 2))
        killed(daemon, "0.1")
        assert "pids.max" in daemon.wait("host.shortage")["detail"]
        time.sleep(3)
        assert len(daemon.events("worker.exited", slot=0)) >= 2
        assert daemon.worker("1.1")["phase"] == "ready"
        (cgroup / "pids.max").write_text("max")
        daemon.until(lambda: sum(row["phase"] == "ready" for row in daemon.status()["workers"]) == 2, 60)
        told_once_and_over(daemon)
        assert daemon.terminate() == 0


AGENT = """
    import os
    from pathlib import Path
    from livekit.agents import AgentServer, JobContext

    if not Path("room").exists():
        raise {error}

    server = AgentServer()

    @server.rtc_session()
    async def serve(context: JobContext) -> None:
        context.shutdown()
"""


@pytest.mark.parametrize(
    ("launcher", "error"),
    [("template", 'OSError(24, "Too many open files")'), ("exec", 'RuntimeError("can\'t start new thread")')],
    ids=["template", "exec"],
)
def test_an_agent_whose_import_runs_short_is_tried_again(tmp_path, launcher, error):
    (tmp_path / "short_agent.py").write_text(textwrap.dedent(AGENT).format(error=error))
    environ = {**LIVEKIT, "MINDBOT_POOL__LAUNCHER": launcher}
    with Daemon(tmp_path, "--agent", "short_agent:server", "--workers", "2", environ=environ) as daemon:
        daemon.wait("host.shortage", timeout=START)
        (tmp_path / "room").touch()
        daemon.ready(2, START)
        told_once_and_over(daemon)
        assert daemon.terminate(60) == 0


def test_a_template_that_has_no_descriptor_left_is_asked_again_and_blamed_for_nothing(tmp_path):
    (tmp_path / "room").touch()
    (tmp_path / "short_agent.py").write_text(textwrap.dedent(AGENT).format(error="OSError"))
    with Daemon(tmp_path, "--agent", "short_agent:server", "--workers", "2", environ=LIVEKIT) as daemon:
        daemon.ready(2, START)
        template = daemon.status()["supervisor"]["template"]["pid"]
        usual = limit_of(template, 3)
        killed(daemon, "0.1")
        assert "open files" in daemon.wait("host.shortage")["detail"]
        time.sleep(2)
        limit_of(template, usual)
        daemon.wait("worker.ready", worker="0.2", timeout=START)
        told_once_and_over(daemon)
        assert daemon.status()["supervisor"]["template"]["pid"] == template
        assert daemon.terminate(60) == 0
