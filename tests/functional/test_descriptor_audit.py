"""Nothing that the daemon opens stays open longer than it is used, and no process gets what is not its own.

By hand, for hours of a service's life in minutes: AUDIT_DEATHS=200 AUDIT_RELOADS=200 AUDIT_UPGRADES=20
AUDIT_ROTATIONS=20 python -m pytest tests/functional/test_descriptor_audit.py
"""

import contextlib
import os
import re
import signal
import textwrap
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from functional.daemon import Daemon, stub

pytestmark = pytest.mark.timeout(3600)

DEATHS, RELOADS, UPGRADES, ROTATIONS = (
    int(os.environ.get(f"AUDIT_{name}", default))
    for name, default in (("DEATHS", 12), ("RELOADS", 8), ("UPGRADES", 2), ("ROTATIONS", 4))
)
OFTEN = {
    "MINDBOT_RESTART__PARK_AFTER": "100000",
    "MINDBOT_RESTART__BACKOFF_BASE": "0.02",
    "MINDBOT_RESTART__BACKOFF_MAX": "0.05",
}
WORKERS = 3
START = 120.0


def opened(pid: int) -> dict[int, str]:
    """Descriptors of a process, by number, and what each leads to."""
    found = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found[int(path.name)] = str(path.readlink())
    return found


def kinds(pid: int) -> Counter[str]:
    """What is open, without the numbers of pipes and sockets, which are new with each."""
    return Counter(re.sub(r":\[\d+\]$", "", name) for name in opened(pid).values())


def settled(pid: int) -> Counter[str]:
    """What is open once nothing has been opened or closed for a while."""
    deadline, before, since = time.monotonic() + 60, kinds(pid), time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.1)
        now = kinds(pid)
        if now != before:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > 1.5:
            return now
    raise AssertionError(f"it opens and closes files without end: {before}")


def workers(daemon: Daemon) -> dict[str, int]:
    return {row["worker"]: row["pid"] for row in daemon.status()["workers"] if row["phase"] == "ready"}


def ready_again(daemon: Daemon, but: int = 0) -> dict[str, int]:
    """All workers, once they are ready and the one of pid `but` is not among them."""
    return daemon.until(
        lambda: found if len(found := workers(daemon)) == WORKERS and but not in found.values() else None, START
    )


@pytest.fixture
def daemon(tmp_path):
    environ = {**OFTEN, "MINDBOT_LOG__FILE": str(tmp_path / "log.jsonl")}
    arguments = ["--workers", str(WORKERS), "--http", "127.0.0.1:0", *stub("--after", "100000")]
    with Daemon(tmp_path, *arguments, environ=environ) as each:
        ready_again(each)
        yield each
        assert each.terminate(60) == 0
        assert each.left_behind() == []


def change(daemon: Daemon, _: Path) -> None:
    assert daemon.client("reload").returncode == 0


def die(daemon: Daemon, _: Path) -> None:
    pid = min(ready_again(daemon).items())[1]
    os.kill(pid, signal.SIGKILL)
    ready_again(daemon, but=pid)


def upgrade(daemon: Daemon, folder: Path) -> None:
    before = told(folder, "supervisor.upgraded")
    assert daemon.client("upgrade").returncode == 0
    daemon.until(lambda: told(folder, "supervisor.upgraded") > before, START)
    ready_again(daemon)


def rotate(daemon: Daemon, folder: Path) -> None:
    log = folder / "log.jsonl"
    log.rename(folder / f"log.{time.monotonic_ns()}.jsonl")
    daemon.process.send_signal(signal.SIGUSR1)  # has something to say
    daemon.until(log.exists)


def told(folder: Path, event: str) -> int:
    return sum(path.read_text().count(f'"event": "{event}"') for path in folder.glob("log*.jsonl"))


HAPPENINGS = {
    "deaths": (die, DEATHS),
    "reloads": (change, RELOADS),
    "upgrades": (upgrade, UPGRADES),
    "rotations": (rotate, ROTATIONS),
}


def test_the_daemon_has_the_descriptors_that_it_began_with_whatever_has_happened(daemon, tmp_path):
    pid = daemon.process.pid
    for happen, _ in HAPPENINGS.values():  # whatever is opened once and kept, such as for the first look at something
        happen(daemon, tmp_path)
    began = settled(pid)
    for name, (happen, times) in HAPPENINGS.items():
        for _ in range(times):
            happen(daemon, tmp_path)
        now = settled(pid)
        assert now == began, f"after {times} {name}: {now - began} more, {began - now} less"
    assert daemon.process.pid == pid


def test_a_program_is_given_what_the_contract_names_and_nothing_else(daemon, tmp_path):
    for happen, _ in HAPPENINGS.values():
        happen(daemon, tmp_path)
    for name, pid in ready_again(daemon).items():
        environ = psutil.Process(pid).environ()
        beats, leash = (int(environ[f"MINDBOT_{each}_FD"]) for each in ("HEARTBEAT", "LEASH"))
        found = opened(pid)
        assert set(found) == {0, 1, 2, beats, leash}, (name, found)
        assert found[0] == os.devnull and found[1] == found[2]
        alone_with_the_daemon(daemon, {pid}, {found[1], found[beats], found[leash]})


def alone_with_the_daemon(daemon: Daemon, those: set[int], pipes: set[str]) -> None:
    """Of all processes only these, and the daemon, have one of the pipes: else an end would be noticed by nobody."""
    for process in psutil.Process(daemon.process.pid).children(recursive=True):
        if process.pid not in those:
            with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
                assert not pipes & set(opened(process.pid).values()), (process, pipes)


AGENT = """
    from livekit.agents import AgentServer, JobContext

    server = AgentServer()

    @server.rtc_session()
    async def serve(context: JobContext) -> None:
        context.shutdown()
"""


def test_forked_workers_share_no_pipe_with_each_other_nor_with_their_template(tmp_path):
    (tmp_path / "audited_agent.py").write_text(textwrap.dedent(AGENT))
    environ = {
        **OFTEN,
        "LIVEKIT_URL": "ws://127.0.0.1:9",
        "LIVEKIT_API_KEY": "devkey",
        "LIVEKIT_API_SECRET": "secret" * 6,
        "MINDBOT_WORKER__REGISTERED": "false",
        "MINDBOT_LOG__FILE": str(tmp_path / "log.jsonl"),
    }
    arguments = ["--workers", str(WORKERS), "--agent", "audited_agent:server"]
    with Daemon(tmp_path, *arguments, environ=environ) as daemon:
        ready_again(daemon)
        template = daemon.status()["supervisor"]["template"]["pid"]
        die(daemon, tmp_path)
        helpers, began = settled(template), settled(daemon.process.pid)
        for _ in range(max(DEATHS // 4, 3)):
            die(daemon, tmp_path)
        assert settled(template) == helpers, "the template keeps nothing of the workers that it has forked"
        assert settled(daemon.process.pid) == began
        everybody = psutil.Process(daemon.process.pid).children(recursive=True)
        ours = set(opened(daemon.process.pid).values())
        for name, pid in ready_again(daemon).items():
            family = {pid, *(each.pid for each in everybody if f"mb {name}" in each.name())}
            shared = {each for each in opened(pid).values() if each.startswith("pipe:") and each in ours}
            assert len(shared) == 3, "heartbeats, leash and output"
            alone_with_the_daemon(daemon, family, shared)
        assert daemon.status()["supervisor"]["template"]["pid"] == template
        assert daemon.terminate(60) == 0
        assert daemon.left_behind() == []
