"""The end of whole process trees: with real processes."""

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.monitoring.process_tree import ProcessTree
from mindbot_supervisor.processes.trees import kill_process_tree
from mindbot_supervisor.processes.trees.kill_process_tree import ProcessTreeKiller

A, B = Ref(0, 1), Ref(1, 1)
TREE = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
"""


@contextmanager
def tree():
    """The pids of a process in a session of its own, and of its child."""
    command = [sys.executable, "-c", TREE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as root:
        child = int(root.stdout.readline())
        try:
            yield root.pid, child
        finally:
            for pid in (root.pid, child):
                if lives(pid):
                    os.kill(pid, signal.SIGKILL)


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ended(*pids):
    until = time.monotonic() + 10
    while any(lives(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.01)
    return not any(lives(pid) for pid in pids)


def of(*roots):
    made = ProcessTree()
    for root, ref in zip(roots, (A, B), strict=False):
        made.take(root, ref)
    return made


def test_a_tree_is_killed_without_looking_at_all_processes_again_and_again(monkeypatch):
    looks = []
    pids = psutil.pids
    monkeypatch.setattr(psutil, "pids", lambda: looks.append(1) or pids())
    with tree() as (root, child):
        assert kill_process_tree.kill(of(root), A) == []
        assert ended(root, child)
        assert len(looks) <= 3


def test_a_later_process_with_the_same_pid_gets_no_signal():
    with tree() as (root, child):
        found = of(root)
        found.look()
        seen = next(each for each in found.known(A) if each.pid == child)
        later = psutil.Process(child)
        later._ident = (child, later._ident[1] - 1)
        seen.handle = later
        assert not kill_process_tree.signal_one(seen, signal.SIGKILL)
        seen.handle = psutil.Process(child)
        assert kill_process_tree.signal_one(seen, 0)
        assert lives(root)


async def test_what_is_known_of_a_dead_workers_tree_is_killed_at_once_and_nothing_else():
    with tree() as (root, child), tree() as (other, others_child):
        found = of(root, other)
        ends = ProcessTreeKiller(found, lambda *_: None)
        assert sorted(each.pid for each in await ends.members(A)) == sorted((root, child))
        ends.kill_known(A)
        assert ended(root, child)
        assert lives(other)
        assert lives(others_child)


async def test_a_tree_is_ended_though_no_descriptor_was_left_at_first(monkeypatch):
    monkeypatch.setattr(kill_process_tree, "AGAIN", 0.05)
    refused = []

    def refuse(pid, *_):
        refused.append(pid)
        if len(refused) < 3:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(pid)

    real = os.pidfd_open
    monkeypatch.setattr(os, "pidfd_open", refuse)
    with tree() as (root, child):
        assert await ProcessTreeKiller(of(root), lambda *_: None).kill(A) == []
        assert len(refused) > 3
        assert ended(root, child)


async def test_what_can_never_be_ended_is_told_and_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(kill_process_tree, "AGAIN", 0.05)
    monkeypatch.setattr(kill_process_tree, "PATIENCE", 0.2)

    def refuse(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with tree() as (root, _):
        ends = ProcessTreeKiller(of(root), lambda *_: None)
        ends.begin_end(A)
        monkeypatch.setattr(os, "pidfd_open", refuse)
        with pytest.raises(OSError, match="Too many"):
            await ends.end(A, 0.0, set)
        assert not ends.busy
        monkeypatch.undo()
