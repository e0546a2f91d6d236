"""Ends whole process trees, and leaves nothing of them behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterable, Mapping

from mindbot_supervisor.core.model import Ref

from . import proctable
from .family import Family, orphan_zombies
from .proctable import Key, Proc

ROUNDS = 20
"""Looks at /proc for one kill at the most: a tree that forks faster than it is killed is tried again later."""
PAUSE = 0.05
"""Seconds for killed processes to end, and for one to get through its exec, before we look again."""


def kill(family: Family, lock: threading.Lock, ref: Ref) -> int:
    """SIGKILL every process of the worker until none is left; how many were killed."""
    killed = 0
    for _ in range(ROUNDS):
        tree = members(family, lock, ref)
        if not tree and not family.undecided:
            break
        if not tree:
            time.sleep(PAUSE)
        killed += kill_these(proc.key for proc in tree)
    return killed


def kill_these(keys: Iterable[Key]) -> int:
    """SIGKILL exactly these processes, and return when they have ended or PAUSE is over; how many there were."""
    pidfds = [pidfd for key in keys if (pidfd := _signalled(key, signal.SIGKILL)) is not None]
    try:
        _wait(pidfds, PAUSE)
    finally:
        for pidfd in pidfds:
            os.close(pidfd)
    return len(pidfds)


def _wait(pidfds: Iterable[int], seconds: float) -> None:
    """Until all of them have ended: to read all of /proc again and again meanwhile would keep a core busy."""
    ended, left = select.poll(), set(pidfds)
    for pidfd in left:
        ended.register(pidfd, select.POLLIN)
    until = time.monotonic() + seconds
    while left and (wait := until - time.monotonic()) > 0:
        for pidfd, _ in ended.poll(wait * 1000):
            ended.unregister(pidfd)
            left.discard(pidfd)


def members(family: Family, lock: threading.Lock, ref: Ref) -> list[Proc]:
    """The living processes of the worker, by a fresh look."""
    table = proctable.read_all()
    with lock:
        return family.sort(table).get(ref, [])


def signal_one(key: Key, number: int) -> bool:
    """Signal exactly this process and no later one with its pid; False if it is gone."""
    pidfd = _signalled(key, number)
    if pidfd is None:
        return False
    os.close(pidfd)
    return True


def _signalled(key: Key, number: int) -> int | None:
    """A pidfd of the process, which has got the signal."""
    try:
        pidfd = os.pidfd_open(key[0])
    except OSError:
        return None
    try:
        now = proctable.read_one(key[0])
        if now is not None and now.key == key:
            signal.pidfd_send_signal(pidfd, number)
            return pidfd
    except OSError:
        pass
    os.close(pidfd)
    return None


def reap_orphans(table: Mapping[int, Proc], ours: Iterable[int]) -> None:
    """Take the exit status of dead processes that were left to us."""
    for pid in orphan_zombies(table, frozenset(ours)):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
