"""The operators' commands, as the control socket serves them: each takes its fields and answers in JSON."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mindbot_supervisor.control.request_fields import WORKERS_MAX, Command, NoFields, OfWorker, Restart, Scale, Stop
from mindbot_supervisor.core.pool import Effects, Pool
from mindbot_supervisor.errors import Refused
from mindbot_supervisor.observability.status import Json


@dataclass(slots=True)
class Operations:
    """What operators may do to the pool. `do` carries out what the pool decides."""

    pool: Pool
    do: Callable[[Effects], None]
    stop_pool: Callable[[bool], None]
    reload_settings: Callable[[], Awaitable[Json]]
    upgrade_daemon: Callable[[], Awaitable[None]]
    check_code: Callable[[], None]
    """New workers are wanted: they must not run code that has changed on disk since."""
    no_room_for: Callable[[int], str]
    """Why so many workers cannot be had on this host; empty if they can."""

    def commands(self) -> dict[str, Command]:
        return {
            "stop": Command(Stop, self.stop),
            "restart": Command(Restart, self.restart),
            "drain": Command(OfWorker, self.drain),
            "scale": Command(Scale, self.scale),
            "hold": Command(NoFields, self.hold),
            "release": Command(NoFields, self.release),
            "reload": Command(NoFields, self.reload),
            "upgrade": Command(NoFields, self.upgrade),
        }

    async def stop(self, fields: Stop) -> Json:
        self.stop_pool(fields.now)
        return {"stopping": True, "pid": os.getpid(), "calls": self.pool.active_calls}

    async def restart(self, fields: Restart) -> Json:
        slots = self._slots(fields)
        self.check_code()
        answer = {"restarting": slots, **self._concerned(slots)}
        self.do(self.pool.restart(slots, time.monotonic(), hurry=fields.now))
        return answer

    async def drain(self, fields: OfWorker) -> Json:
        slots = self._slots(fields)
        answer = {"draining": slots, **self._concerned(slots)}
        self.do(self.pool.drain(slots, time.monotonic()))
        return answer

    async def scale(self, fields: Scale) -> Json:
        """Have `workers` workers, or `change` more, which two operators may ask for at the same time."""
        self._refuse_while_stopping()
        before = self._wanted()
        workers = before + fields.change if fields.workers is None else fields.workers
        if not 1 <= workers <= WORKERS_MAX:
            raise Refused(f"there cannot be {workers} workers: must be from 1 to {WORKERS_MAX}; there are {before}")
        if why := self.no_room_for(workers):
            raise Refused(why)
        self.do(self.pool.scale(workers, time.monotonic()))
        return {"workers": workers, "before": before}

    def scale_by(self, change: int) -> None:
        """One worker more or fewer (TTIN, TTOU); never fewer than one."""
        wanted = self._wanted() + change
        if 1 <= wanted <= WORKERS_MAX and not self.pool.stopping and not self.no_room_for(wanted):
            self.do(self.pool.scale(wanted, time.monotonic()))

    def _wanted(self) -> int:
        """How many workers there are to be."""
        return sum(not slot.surplus for slot in self.pool.slots.values())

    async def hold(self, _: NoFields) -> Json:
        before = self.pool.brake.by_operator
        self.do(self.pool.hold(True, time.monotonic()))
        return {"held": True, "before": before}

    async def release(self, _: NoFields) -> Json:
        before = self.pool.brake.by_operator
        self.do(self.pool.hold(False, time.monotonic()))
        return {"held": False, "before": before}

    async def reload(self, _: NoFields) -> Json:
        self._refuse_while_stopping()
        return await self.reload_settings()

    async def upgrade(self, _: NoFields) -> Json:
        await self.upgrade_daemon()
        return {"upgrading": True, "pid": os.getpid()}

    def _slots(self, fields: OfWorker) -> list[int]:
        """The slots meant by "all", a slot ("0") or a worker ("0.1"). Raises Refused for one that is not there."""
        self._refuse_while_stopping()
        name = fields.worker
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

    def _concerned(self, slots: list[int]) -> Json:
        """The workers in these slots, and their live calls."""
        refs = [ref for ref in sorted(self.pool.workers) if ref.slot in slots]
        return {"workers": [str(ref) for ref in refs], "calls": sum(self.pool.calls_of(ref) for ref in refs)}

    def _refuse_while_stopping(self) -> None:
        if self.pool.stopping:
            raise Refused("the daemon is stopping")
