"""The end of whole process trees: with real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

from mindbot_supervisor.core.model import Ref
from mindbot_supervisor.runtime import proctable, sweep
from mindbot_supervisor.runtime.family import Family
from mindbot_supervisor.runtime.trees import Trees

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
    proc = proctable.read_one(pid)
    return proc is not None and proc.state != proctable.ZOMBIE


def ended(*pids):
    until = time.monotonic() + 10
    while any(lives(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.01)
    return not any(lives(pid) for pid in pids)


def test_a_tree_is_killed_without_looking_at_all_processes_again_and_again(monkeypatch):
    looks = []
    look = proctable.read_all
    monkeypatch.setattr(proctable, "read_all", lambda: looks.append(1) or look())
    with tree() as (root, child):
        assert sweep.kill(Family("/run/x", {root: A}), threading.Lock(), A) == 2
        assert ended(root, child)
        assert len(looks) <= 3


def test_a_later_process_with_the_same_pid_gets_no_signal():
    with tree() as (root, child):
        pid, started = proctable.read_one(child).key
        assert not sweep.signal_one((pid, started - 1), signal.SIGKILL)
        assert sweep.signal_one((pid, started), 0)
        assert lives(root)


async def test_what_is_known_of_a_dead_workers_tree_is_killed_at_once_and_nothing_else():
    trees = Trees("/run/x")
    with tree() as (root, child), tree() as (other, others_child):
        trees.take(root, A)
        trees.take(other, B)
        assert sorted(proc.pid for proc in await trees.members(A)) == sorted((root, child))
        trees.strike(A)
        assert ended(root, child)
        assert lives(other)
        assert lives(others_child)
