"""Prepares a job process: it ignores the worker's signals, and takes over its worker's environment and output."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any

from mindbot_config.host.descriptors import Descriptor
from mindbot_worker.logging import nonblocking_output, stack_dump
from mindbot_worker.protocol import heartbeat

_NOT_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_DUMP = (signal.SIGUSR2, signal.SIGUSR1)
"""SIGUSR2 is ours. SIGUSR1 comes from LiveKit half a second before it kills a job; unhandled, it kills at once."""


def ignore_worker_signals() -> None:
    """Ignore signals that are meant for the worker, so that one to the whole group or cgroup ends no call."""
    with contextlib.suppress(ValueError):  # a thread executor: the signals are the worker's own
        for number in _NOT_OURS:
            signal.signal(number, signal.SIG_IGN)
    stack_dump.arm(*_DUMP)


_OF_THE_WORKER_ALONE = frozenset({heartbeat.HEARTBEAT_FD, heartbeat.LEASH_FD})

_shared: dict[str, str] = {}
"""The environment of the forkserver, which every job process has already."""


def note_shared_environment(environ: Mapping[str, str]) -> None:
    """Note the environment of the forkserver: only what a worker has beyond it must be sent to its jobs."""
    _shared.clear()
    _shared.update(environ)


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Gives a job process the environment and the output of its worker, as it is unpickled there."""

    worker: str

    def __reduce__(self) -> tuple[Any, ...]:
        if get_spawning_popen() is None:
            return WorkerContext, (self.worker,)
        return _take_over_context, (self.worker, _own_environ(), reduction.DupFd(1))


def _own_environ() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if _shared.get(name) != value and name not in _OF_THE_WORKER_ALONE
    }


def _take_over_context(worker: str, environ: Mapping[str, str], output: Any) -> WorkerContext:
    with Descriptor(output.detach()) as received:
        os.dup2(received.fileno(), 1)
        os.dup2(received.fileno(), 2)
    nonblocking_output.renew()
    os.environ.update(environ)
    Path("/proc/self/comm").write_text(heartbeat.process_name(worker, "job"))
    return WorkerContext(worker)
