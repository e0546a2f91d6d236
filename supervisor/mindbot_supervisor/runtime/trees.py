"""The process trees of all workers: looked at and ended beside the loop's thread, which the sampler shares."""

from __future__ import annotations

import asyncio
import signal
import threading
import time

from mindbot_supervisor.core.model import Ref

from . import sweep
from .family import Family
from .proctable import Proc

LOOK = 0.1
"""Seconds between two looks at what is left of a tree that is given time to end."""


class Trees:
    """`family` is to be used with `lock` held, but for what its workers have told: that may be set at any time."""

    def __init__(self, runtime_dir: str) -> None:
        self.family, self.lock = Family(runtime_dir), threading.Lock()
        self._ending: set[Ref] = set()

    @property
    def busy(self) -> bool:
        """Whether what is left of a dead worker is still being ended."""
        return bool(self._ending)

    def take(self, pid: int, ref: Ref) -> None:
        """This process is the root of the worker's tree."""
        with self.lock:
            self.family.roots[pid] = ref

    async def members(self, ref: Ref) -> list[Proc]:
        return await asyncio.to_thread(sweep.members, self.family, self.lock, ref)

    def strike(self, ref: Ref) -> None:
        """Kill what is known of a dead worker's tree at once, without a look at what else there is: its job processes
        would answer callers whom others are about to answer, and take 0.1 s of CPU to end by themselves.
        """
        for key in self.family.known(ref):
            sweep.signal_one(key, signal.SIGKILL)

    async def kill(self, ref: Ref) -> None:
        await asyncio.to_thread(sweep.kill, self.family, self.lock, ref)

    def begin_end(self, ref: Ref) -> None:
        """`end` comes for this one."""
        self._ending.add(ref)

    async def end(self, ref: Ref, grace: float) -> None:
        """See that nothing of a dead worker's tree stays behind, after so many seconds to end by itself."""
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline:
            if not await self.members(ref):
                break
            await asyncio.sleep(LOOK)
        await self.kill(ref)
        with self.lock:
            self.family.forget([ref])
        self._ending.discard(ref)
