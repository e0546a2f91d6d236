"""Synthetic workers for leak_rates.py: how memory moves with and without a leak.

Sizes, periods, noise and phases are drawn anew for each seed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, pi, sin
from random import Random

SOFT_MB = 300.0
START, STEP = 120.0, 30.0
"""Seconds: the first reading (after the warm-up), and from one to the next."""
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

Jobs = tuple[str, ...]
Series = Callable[[float], tuple[float, Jobs]]
"""MiB of private memory and the live calls at a moment (seconds since ready); asked once for each, in order."""
Kind = Callable[[Random], Series]


# -- no leak -----------------------------------------------------------------------------------------------------------


def flat(r: Random) -> Series:
    base, noise = r.uniform(100, 280), r.uniform(0.2, 3)
    return lambda t: (base + r.gauss(0, noise), ())


def spikes(r: Random) -> Series:
    """Noise with a heavy tail: Pareto with a shape of 1.2, no mean worth the name."""
    base, noise = r.uniform(100, 250), r.uniform(0.2, 2)
    return lambda t: (min(base + noise * (r.gauss(0, 1) + r.paretovariate(1.2)), SOFT_MB - 1), ())


def wander(r: Random) -> Series:
    """Autocorrelated noise that forgets itself within one minute to two hours."""
    base, size, memory = r.uniform(100, 240), r.uniform(1, 8), exp(-STEP / spread(r, MINUTE, 2 * HOUR))
    now = [r.gauss(0, size)]

    def series(t: float) -> tuple[float, Jobs]:
        now[0] = memory * now[0] + r.gauss(0, size * (1 - memory**2) ** 0.5)
        return base + now[0] + r.gauss(0, 0.5), ()

    return series


def plateau(clear: float) -> Kind:
    """An allocator that grows fast and then ever slower, within one minute to three hours."""

    def kind(r: Random) -> Series:
        height, pace, noise = r.uniform(20, 150), spread(r, MINUTE, 3 * HOUR), r.uniform(0.2, 2)
        base = below(r, height, clear)
        return lambda t: (base + height * (1 - exp(-t / pace)) + r.gauss(0, noise), ())

    return kind


def sawtooth(clear: float) -> Kind:
    """Garbage that is collected once in a minute to four hours."""

    def kind(r: Random) -> Series:
        height, period, phase, noise = r.uniform(5, 100), spread(r, MINUTE, 4 * HOUR), r.random(), r.uniform(0.2, 2)
        base = below(r, height, clear)
        return lambda t: (base + height * ((t / period + phase) % 1) + r.gauss(0, noise), ())

    return kind


def wave(clear: float) -> Kind:
    """A load that comes and goes within ten minutes to a day."""

    def kind(r: Random) -> Series:
        height, period, phase, noise = r.uniform(5, 100), spread(r, 600, DAY), r.random(), r.uniform(0.2, 2)
        base = below(r, height, clear)
        return lambda t: (base + height * (1 + sin(2 * pi * (t / period + phase))) / 2 + r.gauss(0, noise), ())

    return kind


def steps(r: Random) -> Series:
    """Up and down, once in one to ten hours; and up to six only upward in the first three hours (caches fill)."""
    level, noise, size = r.uniform(80, 150), r.uniform(0.2, 2), r.uniform(3, 20)
    rate, early = r.uniform(0.1, 1) / HOUR * STEP, sorted(r.uniform(START, 3 * HOUR) for _ in range(r.randint(0, 6)))
    now = [level]

    def series(t: float) -> tuple[float, Jobs]:
        while early and early[0] <= t:
            early.pop(0)
            now[0] += r.uniform(0, size)
        if r.random() < rate:
            now[0] = min(max(now[0] + r.uniform(-size, size), level - 30), SOFT_MB - 30)
        return now[0] + r.gauss(0, noise), ()

    return series


def big_call(r: Random) -> Series:
    """One call of ten minutes to two hours grows without an end; a part of its memory is never given back."""
    height, at, length = r.uniform(20, 120), r.uniform(600, 4 * HOUR), r.uniform(600, 2 * HOUR)
    kept, base, noise = r.uniform(0, 0.3), r.uniform(80, SOFT_MB - 1.3 * height), r.uniform(0.2, 2)

    def series(t: float) -> tuple[float, Jobs]:
        mb = base + r.gauss(0, noise)
        if at <= t < at + length:
            return mb + height * (t - at) / length, ("big",)
        return (mb + height * kept if t >= at else mb), ()

    return series


class Calls:
    """Calls that come at random, more of them by day; each takes memory, takes more while it lasts, and gives it back
    some seconds late. Eight at most at a time, and all together stay 40 MiB below the limit when nothing leaks."""

    def __init__(self, r: Random, per_hour: float, length: float, *, per_call_mb: float = 0.0, mb: float = 0.0) -> None:
        self.r, self.gap, self.length = r, HOUR / per_hour, length
        self.each, self.grows = r.uniform(4, 12), r.uniform(0, 0.5) / MINUTE
        self.leak_per_call, self.leak = per_call_mb, mb / MINUTE
        self.base = r.uniform(50, SOFT_MB - 40 - 8 * 1.5 * (self.each + 2 * length * self.grows))
        self.live: dict[str, tuple[float, float, float]] = {}
        self.late: list[tuple[float, float]] = []
        self.next, self.count = r.expovariate(1 / self.gap), 0

    def __call__(self, t: float) -> tuple[float, Jobs]:
        r = self.r
        while self.next <= t:
            if len(self.live) < 8:
                self.count += 1
                ends, size = self.next + min(r.expovariate(1 / self.length), 3 * self.length), r.uniform(0.5, 1.5)
                self.live[f"job {self.count}"] = self.next, ends, size
            by_day = 1 + 0.8 * sin(2 * pi * t / DAY)
            self.next += r.expovariate(by_day / self.gap)
        for job in [job for job, (_, ends, _) in self.live.items() if ends <= t]:
            began, ends, size = self.live.pop(job)
            self.late.append((ends + r.uniform(1, 10), self._of(began, size, ends)))
        self.late = [(until, mb) for until, mb in self.late if until > t]
        mb = self.base + self.leak_per_call * self.count + self.leak * t + r.gauss(0, 1)
        mb += sum(self._of(began, size, t) for began, _, size in self.live.values())
        return mb + sum(mb for _, mb in self.late), tuple(self.live)

    def _of(self, began: float, size: float, t: float) -> float:
        return size * (self.each + self.grows * (t - began))


def some_calls(r: Random) -> Series:
    return Calls(r, r.uniform(1, 20), r.uniform(60, 600))


def never_idle(**leak: float) -> Kind:
    def kind(r: Random) -> Series:
        length = r.uniform(60, 600)
        return Calls(r, r.uniform(2, 5) * HOUR / length, length, **leak)

    return kind


# -- leaks -------------------------------------------------------------------------------------------------------------


def leak(mb_per_minute: float) -> Kind:
    """From the start, or in a third of all cases only after some hours."""

    def kind(r: Random) -> Series:
        base, noise = r.uniform(130, 220), r.uniform(0.2, 3)
        start = r.uniform(0, 6 * HOUR) if r.random() < 0.33 else 0.0
        return lambda t: (base + mb_per_minute * max(t - start, 0) / MINUTE + r.gauss(0, noise), ())

    return kind


def leak_under_sawtooth(r: Random) -> Series:
    height, period, base, noise = r.uniform(5, 40), spread(r, MINUTE, HOUR), r.uniform(80, 120), r.uniform(0.2, 2)
    return lambda t: (base + t / MINUTE + height * (t / period % 1) + r.gauss(0, noise), ())


def leak_per_call(r: Random) -> Series:
    return Calls(r, r.uniform(12, 40), r.uniform(60, 300), per_call_mb=r.uniform(0.5, 2))


def spread(r: Random, least: float, most: float) -> float:
    """Evenly on a logarithmic scale."""
    return exp(r.uniform(log(least), log(most)))


def below(r: Random, height: float, clear: float) -> float:
    """Where something of this height begins so that it stays clear of the limit by this share of its height; with a
    share of a half or more anywhere below, else just there."""
    most = SOFT_MB - height * (1 + clear) - 6
    return r.uniform(min(60, most), most) if clear >= 0.5 else most


NO_LEAK: dict[str, Kind] = {
    "flat, with noise": flat,
    "noise with a heavy tail": spikes,
    "slowly wandering noise": wander,
    "steps up and down": steps,
    "one big call": big_call,
    "some calls": some_calls,
    "never without calls": never_idle(),
    "allocator plateau": plateau(0.5),
    "sawtooth (gc)": sawtooth(0.5),
    "wave, 10 min to 24 h": wave(0.5),
}
TOO_CLOSE: dict[str, Kind] = {
    "allocator plateau": plateau(0.15),
    "sawtooth (gc)": sawtooth(0.15),
    "wave, 10 min to 24 h": wave(0.15),
}
LEAKS: dict[str, Kind] = {
    "0.2 MiB/min": leak(0.2),
    "1 MiB/min": leak(1),
    "5 MiB/min": leak(5),
    "1 MiB/min under a sawtooth of 5 to 40 MiB": leak_under_sawtooth,
    "1 MiB/min, never without calls": never_idle(mb=1.0),
    "0.5 to 2 MiB per call, 12 to 40 calls/h": leak_per_call,
}
