"""The peers with their memory monitoring on: once a minute, as documented or by default, and every 5 s, the shortest
that supervisord's clock for listeners has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from contest.circus import Circus
from contest.contestants import Contestant
from contest.programs import Program
from contest.report import CIRCUS, SUPERVISORD
from contest.supervisord import Supervisord

LIMIT_MB = 300
Maker = Callable[[Program, int], Contestant]
MEMMON, RESOURCE_WATCHER = f"{Supervisord.label} + superlance memmon", f"{Circus.label} + resource_watcher"


def _supervisord(tick: str) -> Maker:
    return lambda program, count: Supervisord(program, count, limit_mb=LIMIT_MB, tick=tick)


def _circus(seconds: int) -> Maker:
    return lambda program, count: Circus(program, count, limit_mb=LIMIT_MB, interval=seconds)


@dataclass(frozen=True, slots=True)
class Monitored:
    """A supervisor that looks at the memory of its workers every so many seconds."""

    label: str
    make: Maker
    every: float


PEERS: dict[str, Monitored] = {
    SUPERVISORD: Monitored(f"{MEMMON}, every 5 s", _supervisord("TICK_5"), 5),
    f"{SUPERVISORD}-60": Monitored(f"{MEMMON}, every 60 s", _supervisord("TICK_60"), 60),
    CIRCUS: Monitored(f"{RESOURCE_WATCHER}, every 5 s", _circus(5), 5),
    f"{CIRCUS}-60": Monitored(f"{RESOURCE_WATCHER}, every 60 s", _circus(60), 60),
}
