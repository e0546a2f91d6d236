"""The settings made concrete: what the pool decides by on this host, and what its workers are started with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from mindbot_config.credentials import WEBHOOK_SECRET
from mindbot_config.errors import ConfigError
from mindbot_config.sources import Loaded

from . import handover, mode
from .core.policy import Policy
from .runtime import executable
from .runtime.descriptor_limit import DescriptorLimit
from .runtime.launch import Launch, StartProcess
from .runtime.pressure import memory_mb

NOT_FOR_WORKERS = frozenset(
    {handover.VARIABLE, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", WEBHOOK_SECRET}
)
"""What systemd or the operator told the daemon, and nobody else."""


def policy(loaded: Loaded) -> Policy:
    settings = loaded.settings
    return Policy.of(
        settings.pool,
        settings.limits,
        settings.restart,
        host_mb=memory_mb(),
        cores=cores(),
        beats_required=settings.heartbeat_required,
        ready_after=settings.worker.ready_after,
    )


def cores() -> int:
    """Those that we and our workers may use."""
    return len(os.sched_getaffinity(0))


def check_command(loaded: Loaded) -> None:
    """Raises ConfigError for a `pool.command` that can never be run."""
    if not loaded.settings.pool.command:
        return
    why = executable.problem(mode.worker_command(loaded.settings), for_children(loaded.environ))
    if why:
        raise ConfigError(f"pool.command: {why}")


def check_room(loaded: Loaded, descriptors: DescriptorLimit) -> None:
    """Raises ConfigError for more workers than the daemon may have open files for."""
    if why := descriptors.refusal(loaded.settings.pool.workers):
        raise ConfigError(f"pool.workers: {why}")


def launch(
    loaded: Loaded, runtime_dir: Path, extra: Mapping[str, str], start: StartProcess = subprocess.Popen
) -> Launch:
    """`extra` is what the local services add to the environment; `start` gives processes their limits."""
    environ = {**for_children(loaded.environ), **extra}
    settings = loaded.settings
    return Launch(mode.worker_command(settings), environ, str(runtime_dir), mode.template_agent(settings), start)


def for_children(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in NOT_FOR_WORKERS}
