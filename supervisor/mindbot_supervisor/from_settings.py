"""What workers are started with, by the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mindbot_config.credentials import WEBHOOK_SECRET
from mindbot_config.sources import Loaded

from . import handover, mode
from .runtime.launch import Launch

NOT_FOR_WORKERS = frozenset(
    {handover.VARIABLE, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", WEBHOOK_SECRET}
)
"""What systemd or the operator told the daemon, and nobody else."""


def launch(loaded: Loaded, runtime_dir: Path, extra: Mapping[str, str]) -> Launch:
    """`extra` is what the local services add to the environment."""
    environ = {**for_children(loaded.environ), **extra}
    settings = loaded.settings
    return Launch(mode.worker_command(settings), environ, str(runtime_dir), mode.template_agent(settings))


def for_children(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in NOT_FOR_WORKERS}
