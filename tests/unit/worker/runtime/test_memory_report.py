"""What a worker tells of its own memory, and when it collects garbage."""

import asyncio
import gc
import tracemalloc
from unittest.mock import Mock

import psutil
import pytest

from mindbot_worker.runtime import memory_report
from mindbot_worker.runtime.memory_report import GarbageCollection, GrowingLines, usage


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(memory_report, "TIDY_AFTER", 0.02)


def test_sizes_and_counts_are_told_in_numbers():
    told = usage()
    assert told["rss_mb"] >= told["pss_mb"] > 1
    assert len(told["gc_pending"]) == 3
    assert told["threads"] >= 1


def test_without_the_kernels_numbers_the_counts_remain(monkeypatch):
    monkeypatch.setattr(psutil, "Process", Mock(side_effect=psutil.AccessDenied()))
    told = usage()
    assert "rss_mb" not in told
    assert "gc_collected" in told


def test_what_grew_is_named_only_while_tracemalloc_is_on():
    growers = GrowingLines()
    assert growers.look() == {}
    tracemalloc.start()
    try:
        assert growers.look() == {}, "there is nothing to compare with yet"
        hoard = [bytearray(1000) for _ in range(1000)]
        (first, *_) = growers.look()["growers"]
        assert "test_memory_report.py" in first
        assert "KiB" in first
        assert hoard
    finally:
        tracemalloc.stop()


async def test_garbage_is_collected_once_after_several_calls_ended():
    collected = asyncio.Queue()
    garbage = GarbageCollection(lambda: collected.put_nowait(1))
    garbage.call_ended()
    garbage.call_ended()
    await asyncio.wait_for(collected.get(), 5)
    assert collected.empty()


async def test_a_call_that_starts_puts_the_collection_off(monkeypatch):
    collected = []
    garbage = GarbageCollection(lambda: collected.append(1))
    garbage.call_ended()
    due = garbage._due
    garbage.call_started()
    assert due.cancelled()
    assert garbage._due is not None
    assert collected == []


async def test_a_call_that_starts_alone_collects_nothing():
    garbage = GarbageCollection(lambda: None)
    garbage.call_started()
    assert garbage._due is None


def test_what_is_there_before_the_first_call_is_never_looked_at_again():
    try:
        GarbageCollection().freeze_imported()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
