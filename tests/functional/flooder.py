"""A worker for `--command` that fills whatever a worker can fill: `flooder.py KIND`. 0.1 floods, the others beat.

garbage   lines that are no heartbeats, without end
beats     good heartbeats, without end
calls     heartbeats with ever new calls, as many as go into one
kinds     heartbeats with ever new kinds of errors, providers and pids
ends      calls whose jobs were killed, ever new ones
flaps     a registration that comes and goes
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

from mindbot_worker.protocol.heartbeat import DRAINING, HEARTBEAT_FD, WORKER_NAME

BEAT = 0.2
CALLS, KINDS = 800, 1500
"""About what fits into a line."""


def line(seq: int, state: str = "ready", **fields: object) -> bytes:
    return json.dumps({"v": 1, "seq": seq, "state": state, "registered": True, **fields}).encode() + b"\n"


def garbage() -> Iterator[bytes]:
    while True:
        yield b"no heartbeat\n" * 400


def beats() -> Iterator[bytes]:
    for number in itertools.count(1, 100):
        yield b"".join(line(number + each) for each in range(100))


def calls() -> Iterator[bytes]:
    for number in itertools.count(1):
        yield line(number, calls=[{"room": f"r{number}-{each}", "job": f"j{number}-{each}"} for each in range(CALLS)])


def kinds() -> Iterator[bytes]:
    for number in itertools.count(1):
        by = {f"kind-{number}-{each}": 1 for each in range(KINDS)}
        usage = {f"provider-{number}-{each}": {"requests": number} for each in range(100)}
        pids = list(range(100_000, 100_500))
        yield line(number, errors={"total": 0, "by": by}, usage=usage, pids=pids)
        yield line(number, errors={"total": number * 10, "by": by, "of_providers": number * 10})


def ends() -> Iterator[bytes]:
    for number in itertools.count(1):
        ended = [{"room": f"r{number - 1}-{n}", "job": f"j{number - 1}-{n}", "outcome": "killed"} for n in range(200)]
        named = [{"room": f"r{number}-{n}", "job": f"j{number}-{n}", "identity": "agent"} for n in range(200)]
        yield line(number, calls=named, ended=ended)


def flaps() -> Iterator[bytes]:
    for number in itertools.count(1):
        yield line(number, registered=bool(number % 2), problem=f"problem {number}")


KIND = {each.__name__: each for each in (garbage, beats, calls, kinds, ends, flaps)}


def main() -> None:
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    heartbeat = int(os.environ[HEARTBEAT_FD])
    flooding = os.environ[WORKER_NAME] == "0.1"
    lines = KIND[sys.argv[1]]() if flooding else (line(number) for number in itertools.count(1))
    with contextlib.suppress(BrokenPipeError):
        while not ending.is_set():
            os.write(heartbeat, next(lines))
            if not flooding:
                time.sleep(BEAT)
        os.write(heartbeat, line(2**52, DRAINING))


if __name__ == "__main__":
    main()
