"""A host under pressure: who gives memory back first, and when late workers are the host's fault and not their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mindbot_supervisor.core.health.history import Observation
from mindbot_supervisor.core.policy import Policy
from mindbot_supervisor.core.workers.model import Phase, Reason, Ref, Sample, Urgency, Verdict, Worker

MEMORY_FULL = 10.0
"""Percent of the last 10 s in which every task of the host waited for memory (PSI "full"). A host that swaps or
reclaims without an end shows 20 to 90; a healthy one shows 0."""
CPU_SOME = 80.0
"""Percent of the last 10 s in which some task waited for a CPU (PSI "some"): nearly always, so everybody is late."""
ROOM_SHARE, ROOM_MIN, ROOM_MAX = 0.05, 300.0, 1024.0
"""MiB that must stay available: 5 % of the host, but room for one more worker and no more than 1 GiB."""
ROOM_OF_LITTLE = 0.15
"""Where there is little memory, such as 200 MiB for a container, no more than this share must stay available."""
SHORT_FOR = 5.0
"""Seconds for which memory must be short before anybody has to leave: one peak is none."""
SETTLE = 30.0
"""Seconds after a worker left for its memory until the next one may have to: its replacement has started by then."""
GAIN_MIN = 50.0
"""MiB a worker must have grown: replacing one that did not gives nothing back, and costs a start."""
OWN_DELAY = 0.5
"""Seconds by which the supervisor's own tick is late when it does not get the CPU either."""
PATIENCE = 3
"""So many times `hung_after` a silent worker is excused by a starved host, and no longer."""


@dataclass(frozen=True, slots=True)
class Host:
    """One look at the host: PSI in percent of the last 10 s, memory in MiB; None where the kernel does not tell.

    In a container, or under a limit of the service, all of it is the container's (monitoring/host_pressure_reader.py).
    """

    cpu_some: float | None = None
    memory_full: float | None = None
    io_full: float | None = None
    available_mb: float | None = None
    total_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Shortage:
    """What is short: the number, its limit, and in words."""

    value: float
    limit: float
    detail: str


@dataclass(slots=True)
class Pressure:
    """What is known of the host. `starving` tells why silence is excused now, or is None."""

    host: Host = field(default_factory=Host)
    starving: str | None = None
    _short_since: float | None = None
    _late_until: float = 0.0
    _next_at: float = 0.0
    _least: dict[Ref, float] = field(default_factory=dict)
    """Each worker's private memory when it was smallest, since it was ready."""

    # -- facts ---------------------------------------------------------------------------------------------------------

    def take(self, host: Host, now: float) -> None:
        self.host = host
        if shortage(host) is None:
            self._short_since = None
        elif self._short_since is None:
            self._short_since = now

    def ticked(self, delay: float, now: float, policy: Policy) -> None:
        """The supervisor's own tick came so late: for a while, others may have waited for the CPU as well."""
        if delay >= OWN_DELAY:
            self._late_until = now + policy.limits.hung_after

    def sampled(self, worker: Worker, sample: Sample) -> None:
        if worker.phase is Phase.READY:
            self._least[worker.ref] = min(self._least.get(worker.ref, sample.uss_mb), sample.uss_mb)

    def least(self, ref: Ref) -> float | None:
        return self._least.get(ref)

    def remember(self, ref: Ref, least_mb: float) -> None:
        self._least[ref] = least_mb

    def forget(self, ref: Ref) -> None:
        self._least.pop(ref, None)

    # -- what follows --------------------------------------------------------------------------------------------------

    def excused(self, seen: Mapping[Ref, Observation], policy: Policy, now: float) -> frozenset[Ref]:
        """Those whose silence is not held against them: several are late, and the host does not keep up.

        One alone that is late is hung, however busy the host: its siblings did get the CPU.
        """
        limits = policy.limits
        silent = {ref: each.silence for ref, each in seen.items() if each.beaten and not each.lingering}
        late = [ref for ref, silence in silent.items() if silence >= limits.suspect_after]
        why = self.overloaded(now) if len(late) >= 2 else None
        excused = frozenset(ref for ref in late if silent[ref] < PATIENCE * limits.hung_after) if why else frozenset()
        hung = sum(silent[ref] >= limits.hung_after for ref in excused)
        self.starving = f"{len(late)} workers are late at the same time, and {why}" if hung else None
        return excused

    def overloaded(self, now: float) -> str | None:
        """Why whoever is late may not be to blame for it; None where the host keeps up."""
        cpu, memory = self.host.cpu_some, self.host.memory_full
        if cpu is not None and cpu >= CPU_SOME:
            return f"tasks waited for the CPU in {cpu:.0f} % of the last 10 s"
        if memory is not None and memory >= MEMORY_FULL:
            return f"all tasks waited for memory in {memory:.0f} % of the last 10 s"
        return "the supervisor itself runs late" if now < self._late_until else None

    def relief(
        self, workers: Mapping[Ref, Worker], seen: Mapping[Ref, Observation], now: float
    ) -> tuple[Ref, Verdict] | None:
        """Who is to leave first while memory is short, one at a time: fewest calls, then the largest growth."""
        short = shortage(self.host)
        if short is None or self._short_since is None or now - self._short_since < SHORT_FOR:
            return None
        if any(worker.leaving is not None and worker.leaving.reason is Reason.PRESSURE for worker in workers.values()):
            self._next_at = now + SETTLE
        growth = {ref: self.grown(ref, each) for ref, each in seen.items() if workers[ref].serving}
        able = [ref for ref, grown in growth.items() if grown >= GAIN_MIN and workers[ref].seated]
        if now < self._next_at or not able:
            return None
        first = min(able, key=lambda ref: (len(seen[ref].calls), -growth[ref], ref))
        detail = f"{short.detail}; it has grown by {growth[first]:.0f} MiB"
        return first, Verdict(Reason.PRESSURE, Urgency.DRAIN, short.value, short.limit, detail)

    def grown(self, ref: Ref, seen: Observation) -> float:
        """MiB of private memory above its least."""
        return seen.sample.uss_mb - self._least.get(ref, seen.sample.uss_mb) if seen.sample is not None else 0.0


def shortage(host: Host) -> Shortage | None:
    """Whether the host is short of memory now."""
    if host.memory_full is not None and host.memory_full >= MEMORY_FULL:
        return Shortage(host.memory_full, MEMORY_FULL, "percent of the time in which all tasks waited for memory")
    if host.available_mb is None or host.total_mb is None:
        return None
    room = min(max(ROOM_MIN, min(ROOM_SHARE * host.total_mb, ROOM_MAX)), ROOM_OF_LITTLE * host.total_mb)
    if host.available_mb >= room:
        return None
    return Shortage(host.available_mb, room, f"MiB of memory are available of {host.total_mb:.0f}")
