"""The options that a supervised worker needs, set on the user's own server before it runs."""

from __future__ import annotations

import math
import os
from pathlib import Path

from livekit.agents import AgentServer

from mindbot_config.host import resource_limits
from mindbot_config.settings import Settings
from mindbot_worker.jobs.disconnects import Tolerance
from mindbot_worker.jobs.entrypoint import Entrypoint, Setup
from mindbot_worker.jobs.process_setup import Home
from mindbot_worker.livekit_adapter import internals, job_forkserver
from mindbot_worker.runtime.capacity import Capacity

RETRY_WITHOUT_END = 10**9
"""An outage of LiveKit never ends a worker; the wait between two attempts stays at 10 s at most."""
_INITIALIZE_MIN = 60.0
"""A loaded host takes longer than LiveKit's 10 s to start a job process, and a timeout only starts the next."""
_PRELOADED = ["mindbot_worker.jobs.preload"]


def apply(server: AgentServer, settings: Settings, *, reports_to: Path, worker: str) -> Capacity:
    """Everything that makes `server` a supervised one. Nothing of it needs a change to the user's code."""
    _own_ports(server, worker)
    internals.put(server, "max_retry", RETRY_WITHOUT_END)
    wait = internals.get(server, "initialize_process_timeout", 0.0)
    internals.put(server, "initialize_process_timeout", max(wait, _INITIALIZE_MIN))
    if not internals.has_own_idle_processes(server):
        internals.put(server, "num_idle_processes", idle_processes(resource_limits.cpus().whole, settings.pool.workers))
    if settings.pool.agent_name and not internals.get(server, "agent_name"):
        internals.put(server, "agent_name", settings.pool.agent_name)
    internals.put(server, "preload_modules", [*_PRELOADED, *(internals.get(server, "preload_modules") or ())])
    if not settings.worker.registered:
        internals.send_nothing(server)
    capacity = Capacity(server, settings.pool.max_calls)
    capacity.install()
    _wrap_job_side(server, worker, str(reports_to), settings)
    return capacity


def idle_processes(cores: int, workers: int) -> int:
    """Warm job processes per worker: one for each core that may be used, shared among the workers."""
    return math.ceil(cores / workers)


def _own_ports(server: AgentServer, worker: str) -> None:
    """Several workers share this host: fixed ports would let only the first of them start."""
    internals.put(server, "port", 0)
    internals.put(server, "host", "127.0.0.1")
    if internals.get(server, "prometheus_port"):
        internals.put(server, "prometheus_port", 0)
    directory = internals.get(server, "prometheus_multiproc_dir") or os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if directory:
        # a worker deletes every file in this directory when it starts
        internals.put(server, "prometheus_multiproc_dir", str(Path(directory) / (worker or str(os.getpid()))))


def _wrap_job_side(server: AgentServer, worker: str, reports_to: str, settings: Settings) -> None:
    entrypoint = internals.get(server, "entrypoint_fnc")
    tolerance = Tolerance(settings.limits.max_disconnects, settings.limits.disconnect_window)
    wrapped = Entrypoint(entrypoint, reports_to, settings.recovery.enabled, tolerance, settings.limits.beat_interval)
    internals.put(server, "entrypoint_fnc", wrapped)
    server.setup_fnc = Setup(server.setup_fnc, Home(worker) if job_forkserver.is_shared() else None, reports_to)
