"""In a container its own limits count: a worker that leaks is drained before the kernel kills anything. For real."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from functional.daemon import Daemon

LIMIT = 200 * 1024 * 1024
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")

LEAKS = """
import os, time
hoard = []
while True:
    hoard.append(bytearray(os.urandom(1024) * 1024))
    time.sleep(1 / 20)
"""


@pytest.fixture
def container():
    """A memory cgroup of 200 MiB; removed when its last process is reaped."""
    base = V1 if (V1 / "memory.limit_in_bytes").exists() else V2
    group = base / f"mindbot-test-{os.getpid()}-{time.monotonic_ns()}"
    try:
        group.mkdir()
        name = "memory.limit_in_bytes" if base is V1 else "memory.max"
        (group / name).write_text(str(LIMIT))
    except OSError as exc:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"cannot make a memory cgroup: {exc}")
    yield group, name
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.1)
            continue
        return
    raise AssertionError(f"still used: {(group / 'cgroup.procs').read_text()}")


@contextlib.contextmanager
def inside(group: Path):
    """What is started meanwhile is in the group."""
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (group.parent / "cgroup.procs").write_text(str(os.getpid()))


def oom_kills(group: Path) -> int:
    for name in ("memory.oom_control", "memory.events"):
        if (group / name).exists():
            words = (group / name).read_text().split()
            return int(words[words.index("oom_kill") + 1])
    raise AssertionError("nothing counts OOM kills")


def test_a_leak_in_a_small_container_is_stopped_by_us_and_not_by_the_kernel(tmp_path, container):
    group, name = container
    script = tmp_path / "leaks.py"
    script.write_text(LEAKS)
    with inside(group):
        daemon = Daemon(tmp_path, "--workers", "1", "--command", f"{sys.executable} {script}")
    with daemon:
        assert f"cgroup {name} of /{group.name}" in daemon.wait("supervisor.started")["memory"]
        for number in range(2):
            exited = daemon.wait("worker.exited", worker=f"0.{number + 1}")
            assert exited["reason"] == "memory"
        assert daemon.client("stop", "--now").returncode == 0
        assert daemon.end() == 0
    assert oom_kills(group) == 0
    assert daemon.events("worker.oom") == []


def test_config_show_says_where_the_number_came_from(tmp_path, container):
    group, name = container
    with inside(group):
        command = [sys.executable, "-m", "mindbot_supervisor", "config", "show", "--workers", "1"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert shown.returncode == 0, shown.stderr
    (row,) = (line for line in shown.stdout.splitlines() if line.startswith("limits.memory_hard_mb"))
    assert "= 96 " in row and row.endswith(f"one worker has 96 of 200 MiB, cgroup {name} of /{group.name}")


def test_workers_get_as_many_job_processes_as_the_affinity_allows(tmp_path):
    code = "from mindbot_config.host import resource_limits; print(resource_limits.cpus().whole)"
    one = min(os.sched_getaffinity(0))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        preexec_fn=lambda: os.sched_setaffinity(0, {one}),
    )
    assert done.stdout == "1\n"
