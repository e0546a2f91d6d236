"""A process that takes seats, as a call's job process does. It tells when, on the host's monotonic clock.

    visitor.py DIRECTORY SEATS REQUESTS WITHIN LASTING

So many requests, which come within so many seconds and last about so long.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path

from mindbot_worker.providers.concurrency_limit import ConcurrencyLimit as Seats
from mindbot_worker.providers.usage_meter import UsageMeter as Meter


async def request(place: Seats, within: float, lasting: float) -> None:
    await asyncio.sleep(random.uniform(0, within))
    asked = time.monotonic()
    tell("asked", asked)
    seat = await place.take()
    taken = time.monotonic()
    tell("taken", taken)
    await asyncio.sleep(random.uniform(0.5, 1.5) * lasting)
    left = time.monotonic()
    seat.give_back()
    tell("visit", [asked, taken, left])


def tell(what: str, value: object) -> None:
    print(json.dumps({what: value}), flush=True)


async def main(directory: str, seats: str, requests: str, within: str, lasting: str) -> None:
    place = Seats(Path(directory), "openai", int(seats), Meter())
    tell("ready", time.monotonic())
    sys.stdin.readline()
    await asyncio.gather(*(request(place, float(within), float(lasting)) for _ in range(int(requests))))


asyncio.run(main(*sys.argv[1:]))
