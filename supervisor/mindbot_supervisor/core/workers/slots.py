"""A slot of the pool: how failures delay its next worker (backoff) and when it is parked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mindbot_config.sections.restart import Restart
from mindbot_supervisor.core.workers.model import LastExit, Ref

JITTER = 0.2
"""A wait is spread by this fraction up and down, so that slots that failed together do not come back together."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One seat. `streak` counts failures since the last healthy stretch; `failures` are those inside the window."""

    index: int
    generation: int = 0
    streak: int = 0
    failures: tuple[float, ...] = ()
    retry_at: float | None = None
    parked: bool = False
    parkings: int = 0
    emptied: bool = False
    """Drained by the operator: stays empty until a restart fills it."""
    emptied_at: float | None = None
    emptied_by: str = ""
    """Since when, and by whom, where that is known."""
    surplus: bool = False
    """Scaled away: it ends with its worker."""
    restarts: int = 0
    last_exit: LastExit | None = None

    def next_ref(self) -> Ref:
        return Ref(self.index, self.generation + 1)


def failed(slot: Slot, now: float, roll: float, restart: Restart) -> Slot:
    """The slot after one more failure: filled again at once, after a wait, or parked. `roll` is 0 to 1."""
    recent = (*(at for at in slot.failures if now - at < restart.park_window), now)[-restart.park_after :]
    streak = slot.streak + 1
    if slot.parked or len(recent) >= restart.park_after:
        wait = spread(park_wait(slot.parkings, restart), roll)
        return replace(
            slot, streak=streak, failures=recent, retry_at=now + wait, parked=True, parkings=slot.parkings + 1
        )
    wait = spread(backoff(streak, restart), roll)
    return replace(slot, streak=streak, failures=recent, retry_at=now + wait if wait else None)


def healthy(slot: Slot) -> Slot:
    """The slot after its worker was ready long enough: all failures are forgiven."""
    return replace(slot, streak=0, failures=(), retry_at=None, parked=False, parkings=0)


def wanted(slot: Slot) -> Slot:
    """The slot as an operator's restart leaves it: filled at once, whatever was before."""
    return replace(healthy(slot), emptied=False, emptied_at=None, emptied_by="")


def emptied(slot: Slot, now: float, by: str) -> Slot:
    """The slot as a drain leaves it; one that was drained before stays as it was."""
    return slot if slot.emptied else replace(slot, emptied=True, emptied_at=now, emptied_by=by)


def filled(slot: Slot) -> Slot:
    """The slot with its next worker under way. A parked one stays parked until that worker proves healthy."""
    return replace(slot, generation=slot.generation + 1, retry_at=None)


def is_due(slot: Slot, now: float) -> bool:
    """It may be filled now."""
    return not slot.emptied and not slot.surplus and (slot.retry_at is None or now >= slot.retry_at)


def backoff(streak: int, restart: Restart) -> float:
    """Seconds to wait after the `streak`-th failure in a row: none after the first, then doubling."""
    if streak <= 1:
        return 0.0
    # The exponent is bounded so that a long streak cannot overflow a float.
    return float(min(restart.backoff_base * 2.0 ** min(streak - 2, 64), restart.backoff_max))


def park_wait(parkings: int, restart: Restart) -> float:
    """Seconds until a parked slot is tried again, for the time number `parkings` that it is parked."""
    return float(min(restart.park_retry * 2.0 ** min(parkings, 64), restart.park_window))


def spread(wait: float, roll: float) -> float:
    """`wait`, give or take JITTER, by a roll of 0 to 1."""
    return wait * (1 + JITTER * (2 * roll - 1))
