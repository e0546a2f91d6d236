"""The operators' commands, as the control socket serves them: each takes the request's fields and answers in JSON."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from .core.pool import Effects, Pool
from .errors import Refused
from .ops.view import Json

WORKERS_MAX = 1024


@dataclass(slots=True)
class Operations:
    """What operators may do to the pool. `do` carries out what the pool decides."""

    pool: Pool
    do: Callable[[Effects], None]
    stop_pool: Callable[[bool], None]
    reload_settings: Callable[[], Json]
    upgrade_daemon: Callable[[], Awaitable[None]]
    check_code: Callable[[], None]
    """New workers are wanted: they must not run code that has changed on disk since."""
    no_room_for: Callable[[int], str]
    """Why so many workers cannot be had on this host; empty if they can."""

    def commands(self) -> dict[str, Callable[[Mapping[str, object]], Awaitable[Json]]]:
        return {
            "stop": self.stop,
            "restart": self.restart,
            "drain": self.drain,
            "scale": self.scale,
            "hold": self.hold,
            "release": self.release,
            "reload": self.reload,
            "upgrade": self.upgrade,
        }

    async def stop(self, fields: Mapping[str, object]) -> Json:
        self.stop_pool(bool(fields.get("now")))
        return {"stopping": True, "pid": os.getpid(), "calls": self.pool.active_calls}

    async def restart(self, fields: Mapping[str, object]) -> Json:
        slots = self._slots(fields)
        self.check_code()
        self.do(self.pool.restart(slots, time.monotonic(), hurry=bool(fields.get("now"))))
        return {"restarting": slots}

    async def drain(self, fields: Mapping[str, object]) -> Json:
        slots = self._slots(fields)
        self.do(self.pool.drain(slots, time.monotonic()))
        return {"draining": slots}

    async def scale(self, fields: Mapping[str, object]) -> Json:
        self._refuse_while_stopping()
        workers = fields.get("workers")
        if not isinstance(workers, int) or isinstance(workers, bool) or not 1 <= workers <= WORKERS_MAX:
            raise Refused(f"workers must be a whole number from 1 to {WORKERS_MAX}")
        if why := self.no_room_for(workers):
            raise Refused(why)
        self.do(self.pool.scale(workers, time.monotonic()))
        return {"workers": workers}

    def scale_by(self, change: int) -> None:
        """One worker more or fewer (TTIN, TTOU); never fewer than one."""
        wanted = sum(not slot.surplus for slot in self.pool.slots.values()) + change
        if 1 <= wanted <= WORKERS_MAX and not self.pool.stopping and not self.no_room_for(wanted):
            self.do(self.pool.scale(wanted, time.monotonic()))

    async def hold(self, _: Mapping[str, object]) -> Json:
        self.do(self.pool.hold(True, time.monotonic()))
        return {"held": True}

    async def release(self, _: Mapping[str, object]) -> Json:
        self.do(self.pool.hold(False, time.monotonic()))
        return {"held": False}

    async def reload(self, _: Mapping[str, object]) -> Json:
        self._refuse_while_stopping()
        return self.reload_settings()

    async def upgrade(self, _: Mapping[str, object]) -> Json:
        await self.upgrade_daemon()
        return {"upgrading": True, "pid": os.getpid()}

    def _slots(self, fields: Mapping[str, object]) -> list[int]:
        """The slots meant by "all", a slot ("0") or a worker ("0.1"). Raises Refused for one that is not there."""
        self._refuse_while_stopping()
        name = str(fields.get("worker", ""))
        if name == "all":
            return sorted(index for index, slot in self.pool.slots.items() if not slot.surplus)
        slot, _, generation = name.partition(".")
        known = {str(index): index for index, each in self.pool.slots.items() if not each.surplus}
        present = {str(ref) for ref in self.pool.workers}
        if slot not in known or (generation and name not in present):
            raise Refused(
                f"there is no worker {name or '(none named)'}; there are {', '.join(sorted(present))} and all"
            )
        return [known[slot]]

    def _refuse_while_stopping(self) -> None:
        if self.pool.stopping:
            raise Refused("the daemon is stopping")
