"""Many short sessions of MindBot in one real worker, looked at whenever none is going on."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

AGENT = """
    import asyncio
    from pathlib import Path
    from mindbot_worker.mindbot import server

    server._num_idle_processes = 1  # so that every look finds the same processes

    async def call_in_batches():
        number = 0
        while True:
            await awaited(f"go-{number}")
            for each in range(int(Path(f"go-{number}").read_text())):
                await server.simulate_job(f"synthetic-{number}-{each}", fake_job=True)
            while server.active_jobs:
                await asyncio.sleep(0.05)
            await asyncio.sleep(3)  # garbage is collected 2 s after the last call, and the next process is warm
            print("QUIET", number, flush=True)
            number += 1

    async def awaited(name):
        while not Path(name).exists():
            await asyncio.sleep(0.05)

    def begin():
        global task
        task = asyncio.get_running_loop().create_task(call_in_batches())

    server.on("worker_started", begin)
"""
"""Has as many calls at once as the file `go-0` says, then `go-1`, and so on; says QUIET when they are over."""

SETTINGS = {
    "MINDBOT_VOICE__TURN_DETECTION": "vad",
    "MINDBOT_VOICE__GREETING": "Good day.",
    "MINDBOT_WORKER__SYNTHETIC_INTERVAL": "0",
    "MINDBOT_WORKER__MEMORY_INTERVAL": "1",
}
_BATCH_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB of one process. The kernel divides what is shared, so that only `anonymous` is this process's own doing."""

    pss: float
    anonymous: float


@dataclass(frozen=True, slots=True)
class Look:
    """What there is while no call is going on."""

    sessions: int
    worker: Memory
    forkserver: Memory
    tree: float
    """PSS of all processes together, in MiB."""
    open_files: dict[str, int]
    """Of the worker and of its forkserver, sockets and pipes included."""
    job_processes: set[int]
    tasks: int
    """On the worker's loop."""
    files: set[str]
    """In the runtime directory and in the directory for temporary files."""


class Endurance:
    """Drives one worker made with AGENT, whose runtime and temporary files are below `folder`."""

    def __init__(self, worker: Any, folder: Path) -> None:
        self._worker, self._folder = worker, folder
        self._batches = self._sessions = 0

    def run(self, sessions: int) -> Look:
        """So many sessions at once, and a look when all of them are over."""
        go, number = self._folder / f"go-{self._batches}", self._batches
        go.with_suffix(".new").write_text(str(sessions))
        go.with_suffix(".new").rename(go)
        self._worker.wait(lambda: any(line.startswith(f"QUIET {number}") for line in self._worker.out), _BATCH_SECONDS)
        go.unlink()
        self._batches += 1
        self._sessions += sessions
        return self._look()

    def _look(self) -> Look:
        pid = self._worker.process.pid
        forkserver = next(each for each in psutil.Process(pid).children() if "forkserver" in " ".join(each.cmdline()))
        processes = [pid, *(each.pid for each in psutil.Process(pid).children(recursive=True))]
        return Look(
            sessions=self._sessions,
            worker=memory_of(pid),
            forkserver=memory_of(forkserver.pid),
            tree=sum(memory_of(each).pss for each in processes),
            open_files={
                name: sum(1 for _ in Path(f"/proc/{each}/fd").iterdir())
                for name, each in (("worker", pid), ("forkserver", forkserver.pid))
            },
            job_processes={each.pid for each in forkserver.children()},
            tasks=self._worker.records("memory.usage")[-1]["tasks"],
            files=set(_files(self._folder)),
        )

    def outcomes(self) -> list[str]:
        """How each session ended."""
        return [record["outcome"] for record in self._worker.records("job.ended")]

    def left_over(self) -> set[int]:
        """Processes that had a session, or waited for one, and still live beside those of the last look."""
        known = {number for _, beat in self._worker.beats for number in beat.pids}
        here = {self._worker.process.pid, *(each.pid for each in self._children())}
        return {number for number in known - here if psutil.pid_exists(number) and _is_ours(number, self._folder)}

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self._worker.process.pid).children(recursive=True)


def growth(looks: list[Look], of: Callable[[Look], float]) -> float:
    """In percent, from the median of the first half of these looks to that of the second."""
    half = len(looks) // 2
    before, after = (statistics.median(of(look) for look in part) for part in (looks[:half], looks[-half:]))
    return (after / before - 1) * 100


def memory_of(pid: int) -> Memory:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = {name: int(value) for name, value in re.findall(r"^(\w+): +(\d+) kB", rollup, re.MULTILINE)}
    return Memory(kilobytes["Pss"] / 1024, kilobytes["Pss_Anon"] / 1024)


def _files(folder: Path) -> Iterator[str]:
    """But for those that Python makes of a source."""
    for path in folder.rglob("*"):
        if "__pycache__" not in path.parts:
            yield str(path.relative_to(folder))


def _is_ours(pid: int, folder: Path) -> bool:
    """The number may belong to somebody else by now."""
    try:
        return Path(psutil.Process(pid).environ().get("TMPDIR", "/")).resolve() == (folder / "tmp").resolve()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
