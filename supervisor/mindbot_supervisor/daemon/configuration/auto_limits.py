"""Resolves "auto" in the settings to numbers for this host or container, and says where each number comes from."""

from __future__ import annotations

from mindbot_config.host import resource_limits
from mindbot_config.settings import Settings
from mindbot_config.show import Resolved
from mindbot_supervisor.core.policy import Policy, for_workers


def policy(settings: Settings) -> Policy:
    """The limits by which the core decides, every "auto" resolved."""
    return Policy.of(
        settings.pool,
        settings.limits,
        settings.restart,
        host_mb=resource_limits.memory().limit_mb,
        cores=resource_limits.cpus().whole,
        beats_required=settings.heartbeat_required,
        ready_after=settings.worker.ready_after,
    )


def found() -> dict[str, str]:
    """The memory and CPUs that the pool may use, with the source of each number."""
    memory, cpus = resource_limits.memory(), resource_limits.cpus()
    return {"memory": f"{memory.limit_mb:.0f} MiB, {memory.source}", "cpus": f"{cpus.count:g}, {cpus.source}"}


def resolved(settings: Settings) -> dict[str, Resolved]:
    """For each setting that is "auto": the number, and where it comes from, such as "one worker has 96 of 200 MiB,
    cgroup memory.max of /box".
    """
    decided, limits, pool = policy(settings), settings.limits, settings.pool
    found = {
        "limits.memory_hard_mb": Resolved(decided.memory_hard_mb, _shares(pool.workers)),
        "limits.memory_soft_mb": Resolved(decided.memory_soft_mb, "three quarters of limits.memory_hard_mb"),
        "pool.max_starting": Resolved(decided.max_starting, resource_limits.cpus().source),
        "pool.max_draining": Resolved(decided.max_draining, "as many as pool.workers"),
    }
    given = {
        "limits.memory_hard_mb": limits.memory_hard_mb,
        "limits.memory_soft_mb": limits.memory_soft_mb,
        "pool.max_starting": pool.max_starting,
        "pool.max_draining": pool.max_draining,
    }
    return {key: value for key, value in found.items() if given[key] == "auto"}


def _shares(workers: int) -> str:
    memory = resource_limits.memory()
    who = "one worker has" if workers == 1 else f"{workers} workers share"
    return f"{who} {for_workers(memory.limit_mb):.0f} of {memory.limit_mb:.0f} MiB, {memory.source}"
