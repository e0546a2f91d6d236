"""A small real worker with habits, for `--command`: it beats as the protocol says, and then misbehaves as told.

    stub.py [--after S] [--calls N] [HABIT@SLOT[.GENERATION] …]

A habit without a place is every slot's. What a habit needs is in its function below. Some words say in what state the
habit finds the worker: `call` and `calls` give it one call or three, `starting` keeps it from becoming ready, `drained`
makes the habit wait until the worker drains.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

from mindbot_worker.protocol import heartbeat

BEAT = float(os.environ.get("STUB_BEAT", "0.2"))
CALLS = {"call": 1, "calls": 3}
WHEN = ("starting", "drained")


class Worker:
    """Says how it is, until it is told to finish."""

    def __init__(self, calls: int, slow_boot: float) -> None:
        self.fd = int(os.environ[heartbeat.HEARTBEAT_FD])
        self.name = os.environ[heartbeat.WORKER_NAME]
        self.seq = 0
        self.state = heartbeat.STARTING if slow_boot else heartbeat.READY
        self.ready_at = time.monotonic() + slow_boot
        self.calls = [{"room": f"{self.name}-r{n}", "job": f"{self.name}-j{n}", "idle": 0.0} for n in range(calls)]
        self.extra: dict[str, object] = {}
        self.draining = threading.Event()
        self.quiet = False
        self.lock = threading.Lock()

    def beat(self, **extra: object) -> None:
        if time.monotonic() >= self.ready_at and self.state == heartbeat.STARTING:
            self.state = heartbeat.READY
        self.seq += 1
        line = {"v": 1, "seq": self.seq, "state": self.state, "registered": True, "calls": self.calls, "lag_ms": 0.1}
        self.write(json.dumps({**line, **self.extra, **extra}).encode() + b"\n")

    def write(self, data: bytes) -> None:
        with self.lock, contextlib.suppress(BrokenPipeError):
            os.write(self.fd, data)

    def watch_leash(self) -> None:
        """The supervisor is gone: finish the calls, take no new ones."""
        os.read(int(os.environ[heartbeat.LEASH_FD]), 1)
        self.draining.set()

    def thread_beats(self) -> None:
        while not self.quiet:
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
    while True:  # the signal that asks for its stack ends a sleep
        ctypes.PyDLL(None).sleep(3600)  # holds the interpreter lock: no Python thread runs meanwhile


def silent(worker: Worker) -> None:
    """Stops beating, and lives on."""
    worker.quiet = True
    while not worker.draining.is_set():
        time.sleep(BEAT)
    sys.exit(0)


def mute(_: Worker) -> None:
    """Blocked while it boots, before its first beat."""
    time.sleep(3600)


def dies_at_boot(_: Worker) -> None:
    sys.exit("no module named x")


def sigkill(_: Worker) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def oom(worker: Worker) -> None:
    """Into the cgroup that the test has made for it, and there beyond its limit."""
    (Path(os.environ["STUB_CGROUPS"]) / worker.name / "cgroup.procs").write_text(str(os.getpid()))
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1024) * 1024))
        worker.beat()


def fd_leak(worker: Worker) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    leaked = []
    while True:
        try:
            leaked.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            os._exit(1)
        if len(leaked) % 50 == 0:
            worker.beat()


def busy(_: Worker) -> None:
    def spin() -> None:
        while True:
            pass

    threading.Thread(target=spin, daemon=True).start()


def storm(worker: Worker) -> None:
    worker.extra["jobs"] = {"started": 0, "failed": 20, "storm": 20}


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
    while not worker.draining.is_set():
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


def print_secret(_: Worker) -> None:
    print("the key is", os.environ["OPENAI_API_KEY"], flush=True)


def slow_boot(_: Worker) -> None:
    """Done by its constructor."""


HABITS = {
    name: habit for name, habit in globals().items() if callable(habit) and getattr(habit, "__module__", "") == __name__
}


def mine(word: str) -> str | None:
    habit, _, place = word.partition("@")
    name = os.environ[heartbeat.WORKER_NAME]
    return habit if place in ("", name, os.environ[heartbeat.SLOT]) else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--after", type=float, default=0.5)
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--call-seconds", type=float, default=3600)
    parser.add_argument("habits", nargs="*")
    options = parser.parse_args()
    words = [habit for word in options.habits if (habit := mine(word))]
    habits = [word for word in words if word not in CALLS and word not in WHEN]
    calls = max([options.calls, *(CALLS.get(word, 0) for word in words)])
    worker = Worker(calls, 1.5 if "slow_boot" in words else 3600 if "starting" in words else 0)
    signal.signal(signal.SIGTERM, lambda *_: worker.draining.set())
    faulthandler.register(signal.SIGUSR2)
    for habit in set(habits) & {"mute", "dies_at_boot"}:
        HABITS[habit](worker)
    threading.Thread(target=worker.thread_beats, daemon=True).start()
    threading.Thread(target=worker.watch_leash, daemon=True).start()
    began = time.monotonic()
    worker.beat()
    while True:
        now = time.monotonic() - began
        if worker.calls and now > options.call_seconds:
            worker.calls = []
        if worker.draining.is_set():
            worker.state = heartbeat.DRAINING
            if not worker.calls:
                worker.beat()
                sys.exit(0)
        due = worker.draining.is_set() if "drained" in words else now >= options.after
        if habits and due:
            HABITS[habits.pop(0)](worker)
        worker.beat()
        worker.draining.wait(BEAT) if not worker.draining.is_set() else time.sleep(BEAT)


if __name__ == "__main__":
    main()
