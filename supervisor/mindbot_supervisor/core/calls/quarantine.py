"""Which rooms agents died in lately: one that kills agent after agent is left alone in the end."""

from __future__ import annotations

FORGIVEN = 600.0
"""Seconds after which a death no longer speaks against its room (as `restart.park_window` for slots)."""

ROOMS_MAX, DEATHS_MAX = 4096, 16
"""So many rooms are remembered, those in which an agent died last, and so many deaths in each."""

Deaths = dict[str, tuple[float, ...]]


def note(deaths: Deaths, room: str, now: float) -> int:
    """How often agents died in this room; those that died in the same moment died of the same cause."""
    died = deaths.pop(room, ())
    deaths[room] = died if now in died else (*died, now)[-DEATHS_MAX:]
    while len(deaths) > ROOMS_MAX:
        del deaths[next(iter(deaths))]
    return len(deaths[room])


def forgive(deaths: Deaths, now: float) -> None:
    for room, died in list(deaths.items()):
        if now - died[-1] >= FORGIVEN:
            del deaths[room]
        elif now - died[0] >= FORGIVEN:
            deaths[room] = tuple(at for at in died if now - at < FORGIVEN)
