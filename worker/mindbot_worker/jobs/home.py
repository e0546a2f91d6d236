"""A job process that was forked from the shared forkserver belongs to no worker yet; here it learns to which.

Its worker's name, output and environment travel with the first thing that LiveKit sends it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any

from mindbot_worker import wire
from mindbot_worker.descriptors import Descriptor
from mindbot_worker.output import stdio

_OF_THE_WORKER_ALONE = frozenset({wire.HEARTBEAT_FD, wire.LEASH_FD})

_shared: dict[str, str] = {}
"""The environment in which the forkserver was started, which every job process has already."""


def leave(environ: Mapping[str, str]) -> None:
    """Note the environment that is shared with the forkserver; what a worker has beyond it is its own."""
    _shared.clear()
    _shared.update(environ)


@dataclass(frozen=True, slots=True)
class Home:
    """Sent to a job process, it arrives there as the `Home` of its worker, with everything in place."""

    worker: str

    def __reduce__(self) -> tuple[Any, ...]:
        if get_spawning_popen() is None:
            return Home, (self.worker,)
        return _arrive, (self.worker, _own_environ(), reduction.DupFd(1))


def _own_environ() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if _shared.get(name) != value and name not in _OF_THE_WORKER_ALONE
    }


def _arrive(worker: str, environ: Mapping[str, str], output: Any) -> Home:
    with Descriptor(output.detach()) as received:
        os.dup2(received.fileno(), 1)
        os.dup2(received.fileno(), 2)
    stdio.renew()
    os.environ.update(environ)
    Path("/proc/self/comm").write_text(wire.process_name(worker, "job"))
    return Home(worker)
