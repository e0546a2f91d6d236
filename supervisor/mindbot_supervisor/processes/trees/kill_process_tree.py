"""Ends whole process trees, and leaves nothing of them behind: members of a dead worker, and orphans.

Looking and killing is done beside the loop's thread. Where the daemon itself is short of descriptors or threads it is
tried again until it succeeds: nothing is taken for gone because it could not be seen.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TypeVar

from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.monitoring.process_table import GONE, Process
from mindbot_supervisor.monitoring.process_tree import ProcessTree
from mindbot_supervisor.processes.trees.orphan_reaper import Orphan, orphans_among

T = TypeVar("T")

ROUNDS = 20
"""Looks for one kill at the most: a tree that forks faster than it is killed is tried again later."""
PAUSE = 0.05
"""Seconds for killed processes to end before we look again."""
LOOK = 0.1
"""Seconds between two looks at what is left of a tree that is given time to end."""
AGAIN, PATIENCE = 0.5, 60.0
"""Seconds between two attempts where the daemon is short of descriptors, and for all of them."""


OtherChildren = Callable[[], Collection[int]]
"""Asked in the loop's thread: pids of our children that are no workers."""
Which = Callable[[ProcessTree, Collection[int]], list[Process]]

Ended = Callable[[Ref | None, Orphan], None]
"""Takes an orphan that was ended, and whose it was if that is known."""


class ProcessTreeKiller:
    """Ends the trees of workers. `ended` is told of orphans, in the loop's thread."""

    def __init__(self, tree: ProcessTree, ended: Ended) -> None:
        self._tree, self._ended = tree, ended
        self._ending: set[Ref] = set()
        self._killed_at_once: dict[Ref, list[Orphan]] = {}

    @property
    def busy(self) -> bool:
        """Whether what is left of a dead worker is still being ended."""
        return bool(self._ending)

    async def members(self, ref: Ref) -> list[Process]:
        """The living processes of the worker, by a fresh look."""
        return await _insist(lambda: living(self._tree, ref))

    def kill_known(self, ref: Ref) -> None:
        """Kill what is known of a dead worker's tree at once, without a look at what else there is: its job processes
        would answer callers whom others are about to answer, and take 0.1 s of CPU to end by themselves.
        """
        known = self._tree.known(ref)
        self._killed_at_once[ref] = orphans_among(self._tree, known, self._tree.root_of(ref))
        for each in known:
            try:
                signal_one(each, signal.SIGKILL)
            except OSError:
                continue  # `end` comes for it

    async def kill(self, ref: Ref) -> list[Orphan]:
        """SIGKILL every process of the worker until none is left; those of them that were orphans."""
        return await _insist(lambda: kill(self._tree, ref))

    def begin_end(self, ref: Ref) -> None:
        """Note that `end` will be called for this worker."""
        self._ending.add(ref)

    async def end(self, ref: Ref, grace: float, known: OtherChildren) -> None:
        """See that nothing of a dead worker's tree stays behind, after so many seconds to end by itself.

        With it end orphans that can come from no other: whatever of ours still lives is younger than they.
        """
        try:
            for _ in range(round(grace / LOOK)):
                if not await self.members(ref):
                    break
                await asyncio.sleep(LOOK)
            ended = {each.pid: each for each in (*self._killed_at_once.pop(ref, []), *await self.kill(ref))}
        finally:  # what could not be ended now is with all the rest, at the end of the pool
            self._tree.forget(ref)
            self._ending.discard(ref)
        for orphan in ended.values():
            self._ended(ref, orphan)
        await self._end_ownerless(ProcessTree.without_older_root, known, ref)

    async def end_all(self, known: OtherChildren, grace: float) -> None:
        """End whatever is left of the pool, after so many seconds to end by itself."""
        for _ in range(round(grace / LOOK)):
            if not await _insist(partial(self._find, ProcessTree.descendants, known())):
                break
            await asyncio.sleep(LOOK)
        await self._end_ownerless(ProcessTree.descendants, known, None)

    async def _end_ownerless(self, which: Which, known: OtherChildren, ref: Ref | None) -> None:
        told: set[int] = set()
        for _ in range(ROUNDS):
            seen = await _insist(partial(self._find, which, known()))
            # A child that was being started while the other thread looked is known by now, in this one.
            found = [each for each in seen if each.pid not in self._tree.roots and each.pid not in known()]
            if not found:
                return
            orphans = await _insist(partial(orphans_among, self._tree, found, None))
            await _insist(partial(kill_these, found))
            for orphan in orphans:
                if orphan.pid not in told:
                    told.add(orphan.pid)
                    self._ended(ref, orphan)

    def _find(self, which: Which, known: Collection[int]) -> list[Process]:
        self._tree.look()
        return [each for each in which(self._tree, known) if each.lives]


async def _insist(work: Callable[[], T]) -> T:
    """Do `work` in a thread, tried again while no descriptor or thread is left for it. Raises OSError at last."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return await asyncio.to_thread(work)
        except (OSError, RuntimeError):
            if time.monotonic() > until:
                raise
        await asyncio.sleep(AGAIN)


def kill(tree: ProcessTree, ref: Ref) -> list[Orphan]:
    """SIGKILL every process of the worker until none is left; those of them that were orphans."""
    orphans: dict[int, Orphan] = {}
    for _ in range(ROUNDS):
        found = living(tree, ref)
        if not found:
            break
        orphans |= {each.pid: each for each in orphans_among(tree, found, tree.root_of(ref))}
        kill_these(found)
    return list(orphans.values())


def living(tree: ProcessTree, ref: Ref) -> list[Process]:
    """The living processes of the worker, by a fresh look."""
    return [each for each in tree.look().get(ref, ()) if each.lives]


def kill_these(found: Iterable[Process]) -> None:
    """SIGKILL exactly these processes, and return when they have ended or PAUSE is over. Raises OSError."""
    pidfds: list[int] = []
    try:
        for each in found:
            pidfd = _signalled(each, signal.SIGKILL)
            pidfds += [pidfd] if pidfd is not None else []
        _wait(pidfds, PAUSE)
    finally:
        for pidfd in pidfds:
            os.close(pidfd)


def _wait(pidfds: Iterable[int], seconds: float) -> None:
    """Wait until all of them have ended: to look at all processes meanwhile would keep a core busy."""
    ended, left = select.poll(), set(pidfds)
    for pidfd in left:
        ended.register(pidfd, select.POLLIN)
    until = time.monotonic() + seconds
    while left and (wait := until - time.monotonic()) > 0:
        for pidfd, _ in ended.poll(wait * 1000):
            ended.unregister(pidfd)
            left.discard(pidfd)


def signal_one(process: Process, number: int) -> bool:
    """Signal exactly this process and no later one with its pid; False if it is gone. Raises OSError."""
    pidfd = _signalled(process, number)
    if pidfd is None:
        return False
    os.close(pidfd)
    return True


def _signalled(process: Process, number: int) -> int | None:
    """A pidfd of the process, which has got the signal. Raises OSError where no descriptor is left."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError as exc:
        if exc.errno in (errno.ESRCH, errno.EINVAL):
            return None
        raise
    try:
        if process.handle.is_running():
            signal.pidfd_send_signal(pidfd, number)
            return pidfd
    except GONE:
        pass
    except PermissionError:
        pass  # another user's, that our worker was allowed to start and we are not allowed to end
    except BaseException:
        os.close(pidfd)
        raise
    os.close(pidfd)
    return None
