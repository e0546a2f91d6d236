"""What comes of a start: started, failed, or the host ran short; and nothing is left of what came to nothing."""

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mindbot_config.host.descriptors import Descriptor
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.processes.launching import child_process, executable_check
from mindbot_supervisor.processes.launching.launch_options import LaunchOptions
from mindbot_supervisor.processes.launching.worker_launcher import WorkerLauncher

A = Ref(0, 1)
SHORT = [errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM]


def open_files() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


class Told:
    """What the engine would be told."""

    def __init__(self, launch: LaunchOptions) -> None:
        self.started: list[child_process.Child] = []
        self.failed: list[str] = []
        self.short: list[str] = []
        self.launcher = WorkerLauncher(
            launch,
            started=lambda ref, child: self.started.append(child),
            failed=lambda ref, why: self.failed.append(why),
            ran_short=lambda ref, why: self.short.append(why),
            orphaned=lambda refs: None,
            agent_failed=lambda why: False,
        )


def launch(start: Callable[..., Any] = subprocess.Popen, agent: str = "") -> LaunchOptions:
    return LaunchOptions([sys.executable, "-c", "import sys; sys.stdin.read()"], dict(os.environ), "/tmp", agent, start)


def raising(number: int) -> Callable[..., Any]:
    def start(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return start


@pytest.mark.parametrize("number", SHORT, ids=errno.errorcode.get)
async def test_what_the_host_is_short_of_at_the_fork_is_no_failure(number):
    before = open_files()
    told = Told(launch(raising(number)))
    told.launcher.start(A)
    assert not told.failed and not told.started
    (why,) = told.short
    assert os.strerror(number) in why and "\n" not in why
    assert open_files() == before


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.E2BIG], ids=errno.errorcode.get)
async def test_what_is_wrong_with_the_program_is_a_failure(number):
    before = open_files()
    told = Told(launch(raising(number)))
    told.launcher.start(A)
    assert not told.short and len(told.failed) == 1
    assert open_files() == before


async def test_a_program_that_is_not_there_is_told_in_words():
    told = Told(LaunchOptions(["./nothing"], dict(os.environ), "/tmp"))
    told.launcher.start(A)
    assert told.failed == [f"cannot start ./nothing: {executable_check.problem(['./nothing'], os.environ)}"]


@pytest.mark.parametrize("number", SHORT, ids=errno.errorcode.get)
async def test_a_process_that_cannot_be_watched_is_ended_and_nobody_is_blamed(number, monkeypatch):
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(*arguments, **options))
        return started[0]

    before = open_files()
    told = Told(launch(start))
    monkeypatch.setattr(os, "pidfd_open", raising(number))
    told.launcher.start(A)
    assert len(told.short) == 1 and not told.failed
    assert started[0].returncode == -9, "it is gone, and reaped"
    assert open_files() == before


async def test_no_pipe_can_be_opened(monkeypatch):
    before, opened = open_files(), []
    really = os.pipe2

    def two_and_no_more(flags: int) -> tuple[int, int]:
        opened.append(flags)
        return really(flags) if len(opened) < 3 else raising(errno.EMFILE)()

    monkeypatch.setattr(os, "pipe2", two_and_no_more)
    told = Told(launch())
    told.launcher.start(A)
    assert len(told.short) == 1 and open_files() == before


@pytest.mark.parametrize("number", SHORT, ids=errno.errorcode.get)
@pytest.mark.parametrize("at", ["fork", "watch"])
async def test_a_template_that_the_host_has_nothing_left_for_is_not_given_up(number, at, monkeypatch):
    before, started = open_files(), []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        if at == "fork":
            raising(number)()
        started.append(subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], **options))
        return started[0]

    told = Told(launch(start, agent="x:server"))
    with monkeypatch.context() as patched:
        if at == "watch":
            patched.setattr(os, "pidfd_open", raising(number))
        told.launcher.start(A)
    assert len(told.short) == 1 and not told.failed and not told.started, "no worker is started by exec for that"
    assert [each.returncode for each in started] == ([] if at == "fork" else [-9])
    assert open_files() == before
    assert told.launcher.withdraw(A), "the launcher keeps nothing of it"
    assert told.launcher.describe() == {"launcher": "exec"}
    await told.launcher.close()


async def test_whoever_is_asked_for_is_told_once_and_the_ends_are_closed():
    told = Told(launch())
    before = open_files()
    told.launcher.start(A)
    (born,) = told.started
    assert isinstance(born.pidfd, Descriptor)
    born.signal(9)
    pidfd = born.pidfd.fileno()
    await asyncio.to_thread(os.waitid, os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    assert born.reap() is not None
    born.close()
    born.close()
    born.signal(9)  # to nobody: its number may be somebody else's by now
    assert open_files() == before
