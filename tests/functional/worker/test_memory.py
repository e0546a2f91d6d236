"""A real worker tells of its memory now and then."""

from __future__ import annotations

from typing import Any


def test_the_memory_of_the_worker_process_is_logged_with_what_grew(start_worker: Any) -> None:
    worker = start_worker("", MINDBOT_WORKER__MEMORY_INTERVAL="0.5", PYTHONTRACEMALLOC="1")
    told = worker.wait(lambda: len(worker.records("memory.usage")) >= 2 and worker.records("memory.usage"))
    assert told[-1]["rss_mb"] >= told[-1]["pss_mb"] > 1
    assert told[-1]["gc_uncollectable"] == 0
    assert any("growers" in record for record in told)
