"""The servers from which job processes are forked, one for each template: whose end concerns which workers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mindbot_supervisor.core.model import Ref
from mindbot_worker.descriptors import Descriptor

from .child import signal_to


@dataclass(slots=True)
class _Jobserver:
    pid: int
    pidfd: Descriptor
    users: set[Ref] = field(default_factory=set)


class Jobservers:
    """`orphaned` is told of workers that can start no further job process; `lost`, whose job server has ended."""

    def __init__(self, orphaned: Callable[[list[Ref]], None], lost: Callable[[int], None]) -> None:
        self._orphaned, self._lost = orphaned, lost
        self._by_template: dict[int, _Jobserver] = {}

    def watch(self, pid: int, template: int, users: Iterable[Ref] = ()) -> None:
        try:
            pidfd = Descriptor(os.pidfd_open(pid))
        except OSError:
            asyncio.get_running_loop().call_soon(self._tell, template, sorted(users))
            return
        self._by_template[template] = _Jobserver(pid, pidfd, set(users))
        asyncio.get_running_loop().add_reader(pidfd.fileno(), self._ended, template)

    def used_by(self, ref: Ref, template: int) -> None:
        if template in self._by_template:
            self._by_template[template].users.add(ref)

    def of(self, template: int) -> int | None:
        """Its pid."""
        found = self._by_template.get(template)
        return found.pid if found is not None else None

    def left(self, ref: Ref) -> None:
        """This worker is gone."""
        for each in self._by_template.values():
            each.users.discard(ref)

    def known(self) -> list[tuple[int, int, list[Ref]]]:
        """Pid, template and users of each, for a handover."""
        return [(each.pid, template, sorted(each.users)) for template, each in self._by_template.items()]

    def close(self) -> None:
        """The pool has ended: nobody uses them any more."""
        for each in self._by_template.values():
            asyncio.get_running_loop().remove_reader(each.pidfd.fileno())
            signal_to(each.pidfd, signal.SIGKILL)
            each.pidfd.close()
        self._by_template.clear()

    def _ended(self, template: int) -> None:
        gone = self._by_template.pop(template)
        asyncio.get_running_loop().remove_reader(gone.pidfd.fileno())
        gone.pidfd.close()
        self._tell(template, sorted(gone.users))

    def _tell(self, template: int, users: list[Ref]) -> None:
        self._lost(template)
        if users:
            self._orphaned(users)
