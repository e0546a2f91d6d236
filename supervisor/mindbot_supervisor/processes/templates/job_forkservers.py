"""The forkservers of job processes, one for each template: watched, so that their workers are told of their end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mindbot_config.host.descriptors import Descriptor
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.processes.launching.child_process import signal_to

RETRY = 1.0
"""Seconds until it is tried again to watch one, where the daemon had no descriptor left."""


@dataclass(slots=True)
class _JobForkserver:
    pid: int
    users: set[Ref]
    pidfd: Descriptor | None = None


class JobForkservers:
    """Watches job forkservers. `orphaned` is told of workers that can start no further job process; `lost` is told the
    pid of a template whose job forkserver has ended.
    """

    def __init__(self, orphaned: Callable[[list[Ref]], None], lost: Callable[[int], None]) -> None:
        self._orphaned, self._lost = orphaned, lost
        self._by_template: dict[int, _JobForkserver] = {}

    def watch(self, pid: int, template: int, users: Iterable[Ref] = ()) -> None:
        self._by_template[template] = _JobForkserver(pid, set(users))
        self._watch(template)

    def _watch(self, template: int) -> None:
        server, loop = self._by_template.get(template), asyncio.get_running_loop()
        if server is None:
            return
        try:
            server.pidfd = Descriptor(os.pidfd_open(server.pid))
        except ProcessLookupError:
            loop.call_soon(self._ended, template)
        except OSError:
            loop.call_later(RETRY, self._watch, template)
        else:
            loop.add_reader(server.pidfd.fileno(), self._ended, template)

    def used_by(self, ref: Ref, template: int) -> None:
        if template in self._by_template:
            self._by_template[template].users.add(ref)

    def of(self, template: int) -> int | None:
        """The pid of the job forkserver of this template."""
        found = self._by_template.get(template)
        return found.pid if found is not None else None

    def left(self, ref: Ref) -> None:
        """Forget a worker that is gone."""
        for each in self._by_template.values():
            each.users.discard(ref)

    def known(self) -> list[tuple[int, int, list[Ref]]]:
        """Pid, pid of the template, and workers of each, for an upgrade."""
        return [(each.pid, template, sorted(each.users)) for template, each in self._by_template.items()]

    def close(self) -> None:
        """The pool has ended: nobody uses them any more."""
        for each in self._by_template.values():
            if each.pidfd is not None:
                signal_to(each.pidfd, signal.SIGKILL)
            _unwatch(each)
        self._by_template.clear()

    def _ended(self, template: int) -> None:
        gone = self._by_template.pop(template, None)
        if gone is None:
            return
        _unwatch(gone)
        self._lost(template)
        if gone.users:
            self._orphaned(sorted(gone.users))


def _unwatch(server: _JobForkserver) -> None:
    if server.pidfd is not None:
        asyncio.get_running_loop().remove_reader(server.pidfd.fileno())
        server.pidfd.close()
