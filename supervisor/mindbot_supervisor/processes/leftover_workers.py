"""Workers that a dead daemon left behind: no children of ours, so that their end is all that can be known of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from mindbot_config.host.descriptors import Descriptor
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.monitoring import process_table
from mindbot_supervisor.processes.child_process import signal_to
from mindbot_supervisor.processes.pid_files import Pidfile


class Adopted:
    """`gone` is called once for each, after its end."""

    def __init__(self, gone: Callable[[Ref], None]) -> None:
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._pidfds: dict[Ref, Descriptor] = {}

    def take(self, record: Pidfile) -> bool:
        """False if the process of this record is no more, or its pid is somebody else's by now.

        Raises OSError where no descriptor is left: then nothing is known of it.
        """
        try:
            pidfd = Descriptor(os.pidfd_open(record.pid))
        except ProcessLookupError:
            return False
        if not process_table.is_same(record.pid, record.started):
            pidfd.close()
            return False
        self._pidfds[record.ref] = pidfd
        self._loop.add_reader(pidfd.fileno(), self._ended, record.ref)
        return True

    def signal(self, ref: Ref, number: int) -> None:
        """Nothing happens for one that is not among them, or is gone."""
        if ref in self._pidfds:
            signal_to(self._pidfds[ref], number)

    def named(self, name: str) -> Ref | None:
        return next((ref for ref in self._pidfds if str(ref) == name), None)

    def _ended(self, ref: Ref) -> None:
        pidfd = self._pidfds.pop(ref)
        self._loop.remove_reader(pidfd.fileno())
        pidfd.close()
        self._gone(ref)
