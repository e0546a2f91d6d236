"""Ends whole process trees, and leaves nothing of them behind."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Mapping

from mindbot_supervisor.core.model import Ref

from . import proctable
from .family import Family, orphan_zombies
from .proctable import Proc

ROUNDS = 20
"""Looks at /proc for one kill at the most: a tree that forks faster than it is killed is tried again later."""
PAUSE = 0.05
"""Seconds for a process to get through its exec before it is looked at again."""


def kill(family: Family, lock: threading.Lock, ref: Ref) -> int:
    """SIGKILL every process of the worker until none is left; how many were killed."""
    killed = 0
    for _ in range(ROUNDS):
        tree = members(family, lock, ref)
        if not tree and not family.undecided:
            break
        if not tree:
            time.sleep(PAUSE)
        killed += sum(signal_one(proc, signal.SIGKILL) for proc in tree)
    return killed


def members(family: Family, lock: threading.Lock, ref: Ref) -> list[Proc]:
    """The living processes of the worker, by a fresh look."""
    table = proctable.read_all()
    with lock:
        return family.sort(table).get(ref, [])


def signal_one(proc: Proc, number: int) -> bool:
    """Signal exactly this process and no later one with its pid; False if it is gone."""
    try:
        pidfd = os.pidfd_open(proc.pid)
    except OSError:
        return False
    try:
        now = proctable.read_one(proc.pid)
        if now is None or now.key != proc.key:
            return False
        signal.pidfd_send_signal(pidfd, number)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def reap_orphans(table: Mapping[int, Proc], ours: Iterable[int]) -> None:
    """Take the exit status of dead processes that were left to us."""
    for pid in orphan_zombies(table, frozenset(ours)):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
