"""A small real worker with habits, for `--command`: it beats as the protocol says, and then misbehaves as told.

    stub.py [--after S] [--calls N] [HABIT@SLOT[.GENERATION] …]

A habit without a place is every slot's. What a habit needs is in its function below.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
import threading
import time

from mindbot_worker import wire

BEAT = float(os.environ.get("STUB_BEAT", "0.2"))


class Worker:
    """Says how it is, until it is told to finish."""

    def __init__(self, calls: int, slow_boot: float) -> None:
        self.fd = int(os.environ[wire.HEARTBEAT_FD])
        self.name = os.environ[wire.WORKER_NAME]
        self.seq = 0
        self.state = wire.STARTING if slow_boot else wire.READY
        self.ready_at = time.monotonic() + slow_boot
        self.calls = [{"room": f"{self.name}-r{n}", "job": f"{self.name}-j{n}", "idle": 0.0} for n in range(calls)]
        self.extra: dict[str, object] = {}
        self.draining = threading.Event()
        self.quiet = False
        self.lock = threading.Lock()

    def beat(self, **extra: object) -> None:
        if time.monotonic() >= self.ready_at and self.state == wire.STARTING:
            self.state = wire.READY
        self.seq += 1
        line = {"v": 1, "seq": self.seq, "state": self.state, "registered": True, "calls": self.calls, "lag_ms": 0.1}
        self.write(json.dumps({**line, **self.extra, **extra}).encode() + b"\n")

    def write(self, data: bytes) -> None:
        with self.lock:
            os.write(self.fd, data)

    def thread_beats(self) -> None:
        while True:
            time.sleep(BEAT)
            self.write(json.dumps({"v": 1, "seq": 0, "state": self.state, "source": "thread"}).encode() + b"\n")


def crash(_: Worker) -> None:
    os._exit(3)


def exit_0(_: Worker) -> None:
    os._exit(0)


def exit_78(worker: Worker) -> None:
    worker.beat(state="starting", failure={"code": 78, "message": "this stub can never start"})
    os._exit(78)


def segv(_: Worker) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(_: Worker) -> None:
    time.sleep(3600)


def hang_c(_: Worker) -> None:
    ctypes.PyDLL(None).sleep(3600)  # holds the interpreter lock: no Python thread runs meanwhile


def stop(_: Worker) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def ignore_term(_: Worker) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def leak(worker: Worker) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1024) * 1024))  # 1 MiB of touched memory
        worker.beat()
        time.sleep(1 / 20)


def flood(worker: Worker) -> None:
    text = "x" * 199 + "\n"
    until = time.monotonic() + 5
    while time.monotonic() < until:
        sys.stdout.write(text * 100)
        worker.beat()


def garbage(worker: Worker) -> None:
    lines = [b"\x00\xff\xfe", b'{"v":1,"seq":NaN,"state":"ready"}', b"[" * 60000, b"{}", b"null", b'{"v":1}']
    worker.write(b"\n".join(lines) + b"\n")
    for _ in range(160):
        worker.write(b"z" * 65536)  # 10 MB without a newline
    worker.write(b"\n")


def only_garbage(worker: Worker) -> None:
    while True:
        worker.write(b"not a heartbeat\n")
        time.sleep(BEAT)


def daemonise(_: Worker) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "3600"])
        os._exit(0)
    os.wait()


def errors(worker: Worker) -> None:
    worker.extra["errors"] = {"total": 11, "fatal": 0, "by": {"llm": 7, "stt": 4}}


def inactive(worker: Worker) -> None:
    worker.calls = [{"room": "quiet", "job": "AJ_quiet", "idle": 301.0}]


def unregistered(worker: Worker) -> None:
    worker.extra["registered"] = False


def print_json(_: Worker) -> None:
    print(json.dumps({"level": "warning", "event": "user.speech", "characters": 12, "worker": "9.9"}), flush=True)
    print("stray text, no JSON", flush=True)


def slow_boot(_: Worker) -> None:
    """Done by its constructor."""


HABITS = {
    name: habit for name, habit in globals().items() if callable(habit) and getattr(habit, "__module__", "") == __name__
}


def mine(word: str) -> str | None:
    habit, _, place = word.partition("@")
    name = os.environ[wire.WORKER_NAME]
    return habit if place in ("", name, os.environ[wire.SLOT]) else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--after", type=float, default=0.5)
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--call-seconds", type=float, default=3600)
    parser.add_argument("habits", nargs="*")
    options = parser.parse_args()
    habits = [habit for word in options.habits if (habit := mine(word))]
    worker = Worker(options.calls, 1.5 if "slow_boot" in habits else 0)
    signal.signal(signal.SIGTERM, lambda *_: worker.draining.set())
    threading.Thread(target=worker.thread_beats, daemon=True).start()
    began = time.monotonic()
    worker.beat()
    while True:
        now = time.monotonic() - began
        if worker.calls and now > options.call_seconds:
            worker.calls = []
        if worker.draining.is_set():
            worker.state = wire.DRAINING
            if not worker.calls:
                worker.beat()
                sys.exit(0)
        if habits and now >= options.after:
            HABITS[habits.pop(0)](worker)
        worker.beat()
        worker.draining.wait(BEAT) if not worker.draining.is_set() else time.sleep(BEAT)


if __name__ == "__main__":
    main()
