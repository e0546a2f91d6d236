"""Nothing of a session outlives it in its worker: no process, no open file, no file, no memory.

`bench/sessions.py` does the same with 200 sessions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from functional.worker.endurance import AGENT, SETTINGS, Endurance, growth

WARM_UP, BATCHES, AT_ONCE = 2, 4, 3


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """A short name for the test's directory of temporary files: multiprocessing puts a socket into it."""
    (tmp_path / "tmp").mkdir()
    with tempfile.TemporaryDirectory(prefix="mb-") as short:
        (Path(short) / "tmp").symlink_to(tmp_path / "tmp")
        yield Path(short) / "tmp"


@pytest.mark.timeout(400)
def test_sessions_leave_nothing_in_their_worker(
    start_worker: Callable[..., Any], providers: dict[str, str], tmp_path: Path, temporary: Path
) -> None:
    worker = start_worker(AGENT, prelude=False, **providers | SETTINGS | {"TMPDIR": str(temporary)})
    endurance = Endurance(worker, tmp_path)
    for _ in range(WARM_UP):
        endurance.run(AT_ONCE)
    looks = [endurance.run(AT_ONCE) for _ in range(BATCHES)]
    assert endurance.outcomes() == ["completed"] * AT_ONCE * (WARM_UP + BATCHES)
    assert not endurance.left_over()
    assert all(len(look.job_processes) == 1 for look in looks), "only the one that waits for the next call"
    assert len({look.job_processes.copy().pop() for look in looks}) == BATCHES, "and each time a fresh one"
    for process in ("worker", "forkserver"):
        counts = [look.open_files[process] for look in looks]
        assert min(counts[BATCHES // 2 :]) <= max(counts[: BATCHES // 2]), "a leak grows with each batch"
    assert looks[-1].files == looks[0].files
    assert looks[-1].tasks <= looks[0].tasks
    assert growth(looks, lambda look: look.worker.anonymous) < 5
    assert growth(looks, lambda look: look.forkserver.anonymous) < 5


def test_a_worker_that_is_not_registered_keeps_nothing_of_what_it_cannot_send(start_worker: Callable[..., Any]) -> None:
    """LiveKit has room for 128 messages, two for each job, and a waiting task for each one after that."""
    sessions = 80
    worker = start_worker(
        f"""
        async def call(ctx): ...
        simulate(*map(str, range({sessions})))
        """,
        MINDBOT_WORKER__MEMORY_INTERVAL="0.5",
    )
    worker.wait(lambda: len(worker.records("job.ended")) == sessions)
    told = len(worker.records("memory.usage"))
    worker.wait(lambda: any(record["tasks"] < 30 for record in worker.records("memory.usage")[told:]), within=20)
