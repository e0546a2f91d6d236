"""[limits]: when a worker counts as unhealthy."""

from __future__ import annotations

from pydantic import Field

from mindbot_config.sections.base import AutoMegabytes, Section


class Limits(Section):
    """When a worker counts as unhealthy."""

    max_errors: int = Field(default=10, ge=1)
    """More errors than this within `error_window` and the worker is drained and replaced (10: the guide's number).
    What a provider did never restarts anything: it is told once, and where most workers suffer from it the pool is
    held."""
    error_window: float = Field(default=300.0, gt=0)
    """Seconds for which an error counts."""
    inactivity: float = Field(default=300.0, gt=0)
    """A call without activity of either side for this many seconds makes its worker inactive (300: the guide's 5
    minutes). A worker without calls is healthy however long it waits. Raise it where callers are put on hold."""
    check_interval: float = Field(default=1.0, ge=0.05, le=30)
    """Seconds between two checks of the rules and samples of the processes (30: the guide's upper bound)."""
    beat_interval: float = Field(default=1.0, ge=0.05, le=30)
    """Seconds between two heartbeats of a worker."""
    suspect_after: float = Field(default=3.0, gt=0)
    """No heartbeat from the worker's loop for this many seconds and it is suspect: reported, but left alone.
    At least two beats long. The same for the job process of a call: `call.stalled` tells what it is doing; one that
    the kernel has stopped is killed then, and its call recovered."""
    hung_after: float = Field(default=10.0, gt=0)
    """No heartbeat for this many seconds and the worker is hung: it is killed, replaced, and its calls recovered. The
    job process of a call that is silent for so long is killed alone, and that call recovered.
    Stay well below 70: LiveKit's job processes give up, calls and all, on a worker that is silent for so long."""
    beats_rejected_max: int = Field(default=20, ge=1)
    """So many unreadable heartbeats in a row and the worker counts as broken."""
    memory_soft_mb: AutoMegabytes = "auto"
    """MiB of the worker's process tree (PSS) above which it is drained behind a replacement.
    "auto": three quarters of `memory_hard_mb`."""
    memory_hard_mb: AutoMegabytes = "auto"
    """MiB of the process tree (PSS) above which the worker's calls are migrated and it is killed.
    "auto": an equal share of four fifths of the memory that the lowest limit of the own cgroups allows, else of the
    host's, without 80 MiB for the supervisor itself."""
    leak_horizon: float = Field(default=3600.0, ge=0)
    """A worker whose memory, at its present slope, will meet the soft limit within so many seconds leaks, and is
    drained early; 0 is off."""
    cpu_percent: float = Field(default=80.0, ge=0)
    """CPU of the process tree in percent of one core. A worker with no call that stays above it for `cpu_window` is
    replaced, one with calls is reported; 0 is off."""
    cpu_window: float = Field(default=60.0, gt=0)
    """Seconds for which the CPU must stay above `cpu_percent`."""
    max_age: float = Field(default=0.0, ge=0)
    """A worker older than so many seconds is replaced, give or take a tenth drawn once per worker; 0 is off."""
    max_jobs: int = Field(default=0, ge=0)
    """A worker that has started so many jobs is replaced; 0 is off."""
    register_timeout: float = Field(default=90.0, gt=0)
    """A worker that is not registered for so many seconds, while LiveKit answers its siblings, is replaced."""
    max_disconnects: int = Field(default=3, ge=1)
    """A call that loses its connection to the room so many times within `disconnect_window` counts as an error, kind
    "disconnects", and is reported with its probable causes."""
    disconnect_window: float = Field(default=300.0, gt=0)
    """Seconds for which a lost connection counts."""
