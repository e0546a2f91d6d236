"""A worker for `--command`: in slot 0 it writes at random what a worker may write, and much that it may not."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time

from mindbot_worker.protocol.heartbeat import HEARTBEAT_FD, SLOT

WORDS = ["r1", "r2", "\x1b[2J", "\u202e", "x" * 3000, "", "AJ_1", "agent-AJ_1", "../../etc", "\ud800"]
HOSTILE = [
    b"\n", b"{}\n", b"[]\n", b"null\n", b"{" * 5000 + b"\n", b'{"v":1e999}\n', b"\xff\xfe\x00\n", b'{"v":2,"seq":1}\n',
    b"x" * 70_000 + b"\n", b'{"v":1,"seq":-1,"state":"ready"}\n', b'{"v":1,"seq":1,"state":7}\n', b'{"v":1,"seq":1,',
    b"yes\n" * 500,
]  # fmt: skip


def fields(chance: random.Random) -> dict[str, object]:
    word, number = lambda: chance.choice(WORDS), lambda: chance.choice([0, 1, -1, 1e308, 2**70, 0.5, True, None, "7"])
    every = {
        "registered": chance.choice([True, False, None, 3]),
        "worker_id": word(),
        "lag_ms": number(),
        "load": number(),
        "calls": [
            {"room": word(), "job": word(), "identity": word(), "pid": number(), "idle": number(), "beat_age": number()}
            for _ in range(chance.randint(0, 4))
        ],
        "errors": {"total": number(), "fatal": number(), "by": {word(): number()}},
        "pids": [number() for _ in range(chance.randint(0, 3))],
        "idle": number(),
        "problem": word(),
        "usage": {word(): {"requests": number()}},
        "failure": chance.choice([None, 3, {"message": word()}]),
    }
    return {key: value for key, value in every.items() if chance.random() < 0.5}


def line(chance: random.Random, seq: int) -> bytes:
    if chance.random() < 0.3:
        return chance.choice(HOSTILE)
    beat = {"v": 1, "seq": seq, "state": chance.choice(["ready", "ready", "starting"]), **fields(chance)}
    return json.dumps(beat).encode() + b"\n"


def main() -> None:
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    heartbeat, wild = int(os.environ[HEARTBEAT_FD]), os.environ[SLOT] == "0"
    chance, seq = random.Random(int(os.environ.get("RANDOM_SEED", "1")) + os.getpid() * wild), 0
    with contextlib.suppress(BrokenPipeError):
        while not ending.is_set():
            seq += 1
            if wild:
                os.write(heartbeat, line(chance, seq))
                os.write(chance.choice([1, 2]), chance.choice(HOSTILE))
                time.sleep(chance.choice([0, 0.001, 0.01]))
            else:
                os.write(heartbeat, json.dumps({"v": 1, "seq": seq, "state": "ready"}).encode() + b"\n")
                time.sleep(0.2)


if __name__ == "__main__":
    main()
