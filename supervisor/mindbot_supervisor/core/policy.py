"""The settings as the core uses them: every "auto" resolved to a number, once, by the shell's facts about the host."""

from __future__ import annotations

from dataclasses import dataclass

from mindbot_config.sections.limits import Limits
from mindbot_config.sections.pool import Pool
from mindbot_config.sections.restart import Restart

HARD_SHARE = 0.8
"""Of the memory there is, what all workers together may use before one is killed ("auto")."""
OWN_MB = 80.0
"""MiB that the supervisor itself takes at most, and workers cannot have: much of a small container."""
OWN_SHARE_MAX = 0.5
"""No more than this share is put aside for the supervisor, however little there is."""
SOFT_SHARE = 0.75
"""Of a worker's hard limit, where it is drained ("auto")."""

STACK_GRACE = 1.0
"""Seconds between asking for stacks and SIGKILL: faulthandler answered within 0.6 s in the middle of a C call."""
MEMORY_STACK_GRACE = 0.3
"""The same for a worker that has too much memory: it is not stuck, answers in milliseconds, and grows meanwhile."""
HUNG_CALLS_GRACE = 30.0
"""Seconds a hung worker with live calls may wait for its replacement: its job processes give up only after 70 s."""
KILL_REPEAT = 5.0
"""Seconds between two SIGKILLs of something that will not die."""
START_STAGGER = 5.0
"""Seconds after which the next worker is started even if the one before is not ready: a slow one blocks nobody."""
AGE_SPREAD = 0.1
"""Fraction by which `max_age` is spread, by the worker's own roll."""


@dataclass(frozen=True, slots=True)
class Policy:
    """All that the core decides by. Memory in MiB of a worker's tree."""

    pool: Pool
    limits: Limits
    restart: Restart
    memory_soft_mb: float
    memory_hard_mb: float
    max_starting: int
    max_draining: int
    beats_required: bool = True
    ready_after: float = 1.0
    """Without required beats: alive for so long is ready."""

    @classmethod
    def of(
        cls,
        pool: Pool,
        limits: Limits,
        restart: Restart,
        *,
        host_mb: float,
        cores: int,
        beats_required: bool = True,
        ready_after: float = 1.0,
    ) -> Policy:
        """Resolve every "auto" for a host, or a container, with `host_mb` MiB of memory and `cores` usable cores."""
        hard = limits.memory_hard_mb
        hard_mb = for_workers(host_mb) / pool.workers if hard == "auto" else hard
        soft = limits.memory_soft_mb
        return cls(
            pool=pool,
            limits=limits,
            restart=restart,
            memory_soft_mb=min(hard_mb * SOFT_SHARE if soft == "auto" else soft, hard_mb),
            memory_hard_mb=hard_mb,
            max_starting=cores if pool.max_starting == "auto" else pool.max_starting,
            max_draining=pool.workers if pool.max_draining == "auto" else pool.max_draining,
            beats_required=beats_required,
            ready_after=ready_after,
        )


def for_workers(host_mb: float) -> float:
    """MiB that all workers together may use of so much memory."""
    return (host_mb - min(OWN_MB, host_mb * OWN_SHARE_MAX)) * HARD_SHARE
