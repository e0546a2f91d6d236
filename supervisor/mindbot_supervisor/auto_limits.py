"""What "auto" stands for on this host or in this container, and where each number comes from."""

from __future__ import annotations

from collections.abc import Iterator

from mindbot_config import resource_limits
from mindbot_config.settings import Settings

from .core.policy import Policy, for_workers


def policy(settings: Settings) -> Policy:
    """All that the core decides by, every "auto" resolved."""
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
    """What there is for the pool, and who says so."""
    memory, cpus = resource_limits.memory(), resource_limits.cpus()
    return {"memory": f"{memory.limit_mb:.0f} MiB, {memory.source}", "cpus": f"{cpus.count:g}, {cpus.source}"}


def explained(settings: Settings) -> dict[str, str]:
    """For each setting that is "auto": the number, and where it comes from, such as "auto: 96 MiB; one worker has 96 of
    200 MiB, cgroup memory.max of /box".
    """
    return dict(_explained(settings, policy(settings)))


def _explained(settings: Settings, resolved: Policy) -> Iterator[tuple[str, str]]:
    limits, pool = settings.limits, settings.pool
    if limits.memory_hard_mb == "auto":
        yield "limits.memory_hard_mb", f"auto: {resolved.memory_hard_mb:.0f} MiB; {_shares(pool.workers)}"
    if limits.memory_soft_mb == "auto":
        yield "limits.memory_soft_mb", f"auto: {resolved.memory_soft_mb:.0f} MiB, by limits.memory_hard_mb"
    if pool.max_starting == "auto":
        yield "pool.max_starting", f"auto: {resolved.max_starting}, {resource_limits.cpus().source}"
    if pool.max_draining == "auto":
        yield "pool.max_draining", f"auto: {resolved.max_draining}, by pool.workers"


def _shares(workers: int) -> str:
    memory = resource_limits.memory()
    who = "one worker has" if workers == 1 else f"{workers} workers share"
    return f"{who} {for_workers(memory.limit_mb):.0f} of {memory.limit_mb:.0f} MiB, {memory.source}"
