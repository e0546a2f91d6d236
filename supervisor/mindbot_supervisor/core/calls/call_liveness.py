"""What is known of the job process of each live call: when its event loop last went round, and what was done about it.

A job process stamps a beat of its own; its worker tells with each heartbeat how old the stamp is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mindbot_worker.protocol.heartbeat import Call


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at a job process found. `belongs`: it is proven to be one of the worker's own processes."""

    belongs: bool = True
    stopped: bool = False
    """The kernel says that it is stopped (state T): no signal but SIGCONT and SIGKILL reaches it."""
    stack: str = ""
    """Of its main thread; empty if it wrote none."""
    where: str = ""
    """The line of the agent's own code that it is in: file, line and function."""
    detail: str = ""


@dataclass(slots=True)
class Stall:
    """A job process that does not beat, from its last beat on."""

    stamped: float
    asked_at: float
    """When the shell was asked to look at it."""
    found: Found | None = None
    told: bool = False
    stopped: bool = False
    killed_at: float | None = None
    end_told: bool = False
    """That it was killed, or was not because it is no process of this worker."""
    refused: bool = False


@dataclass(slots=True)
class JobBeat:
    """One job process. Times are of the core's clock."""

    stamped: float
    """Its newest beat."""
    since: float
    """Its silence counts from here: from its newest beat, or from the end of a stall of the whole host."""
    age: float
    """How long it was silent when its worker was last heard: it says nothing of the time since."""
    anew: float | None = None
    """When its silence was last begun anew."""
    stall: Stall | None = None

    def hear(self, beat_age: float, now: float) -> None:
        self.stamped = max(self.stamped, now - beat_age)
        self.since = max(self.since, self.stamped)
        self.age = max(now - self.since, 0.0)

    @property
    def heard_since(self) -> bool:
        """Whether it was heard after its silence was last begun anew."""
        return self.anew is None or self.stamped > self.anew

    def begin_anew(self, gap: float, now: float) -> None:
        """The host was stalled. Who was not heard since the last time is only forgiven the gap: a silence that is
        forgiven again and again would never end.
        """
        if self.heard_since:
            self.since, self.age, self.anew = now, 0.0, now
        else:
            self.forgive(gap, now)

    def forgive(self, gap: float, now: float) -> None:
        self.since = min(self.since + gap, now)
        self.age = max(self.age - gap, 0.0)


def heard(known: Mapping[str, JobBeat], calls: Iterable[Call], now: float) -> dict[str, JobBeat]:
    """After a heartbeat: the jobs that it names, as far as it tells how old their beats are."""
    found: dict[str, JobBeat] = {}
    for call in calls:
        if call.beat_age is None:
            continue
        age = max(call.beat_age, 0.0)
        job = known.get(call.job)
        if job is None:
            job = JobBeat(stamped=now - age, since=now - age, age=age)
        else:
            job.hear(age, now)
        found[call.job] = job
    return found
