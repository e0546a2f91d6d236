"""A small real worker whose calls have real job processes, for `--command`: each stamps a beat of its own, until it
misbehaves as told.

    stub_jobs.py [--calls N] [HABIT@SLOT[.GENERATION] …]

The first call's process has the habit, one second after it began; the others are well.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import faulthandler
import json
import os
import signal
import sys
import time

import psutil

from mindbot_worker.protocol import heartbeat, job_beats

BEAT = float(os.environ.get("STUB_BEAT", "0.2"))
BLOCK = float(os.environ.get("STUB_BLOCK", "3600"))
"""Seconds for which a job is blocked."""


def sleeping() -> None:
    """As an agent that waits for a slow server with a synchronous request."""
    until = time.monotonic() + BLOCK
    while (left := until - time.monotonic()) > 0:
        time.sleep(left)


def in_c() -> None:
    until = time.monotonic() + BLOCK
    while (left := until - time.monotonic()) > 0:
        ctypes.PyDLL(None).sleep(max(int(left), 1))  # holds the interpreter's lock


def spinning() -> None:
    until = time.monotonic() + BLOCK
    while time.monotonic() < until:
        pass


def stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def deaf() -> None:
    """It does not serve the signal that asks for its stack."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    sleeping()


def pid_of_itself() -> int:
    return os.getpid()


def pid_of_the_daemon() -> int:
    return os.getppid()


def pid_of_a_sibling() -> int:
    children = psutil.Process(os.getppid()).children()
    return next(child.pid for child in children if child.pid != os.getpid())


def pid_of_a_stranger() -> int:
    return int(os.environ["STUB_STRANGER"])


LIES = {lie.__name__: lie for lie in (pid_of_itself, pid_of_the_daemon, pid_of_a_sibling, pid_of_a_stranger)}
"""Pids that a worker may name as that of its first call's process, which sleeps."""
BORN = time.monotonic()
HABITS = {"sleeping": sleeping, "in_c": in_c, "spinning": spinning, "stopped": stopped, "deaf": deaf}


async def job(beats: int, habit: str) -> None:
    loop = asyncio.get_running_loop()

    def stamp() -> None:
        job_beats.stamp(beats, time.monotonic())
        loop.call_later(BEAT, stamp)

    stamp()
    await asyncio.sleep(1)
    if habit:
        HABITS.get(habit, sleeping)()
    await asyncio.sleep(3600)


def start_job(habit: str) -> tuple[int, int]:
    """Its pid, and the file of its beats."""
    beats = job_beats.new_file()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        faulthandler.register(signal.SIGUSR2, all_threads=True)
        asyncio.run(job(beats, habit))
        os._exit(0)
    return pid, beats


class Worker:
    def __init__(self, calls: int, habit: str) -> None:
        self.fd, self.name, self.seq = int(os.environ[heartbeat.HEARTBEAT_FD]), os.environ[heartbeat.WORKER_NAME], 0
        self.jobs = {f"{self.name}-j{n}": start_job(habit if n == 0 else "") for n in range(calls)}
        self.lie, self.many = LIES.get(habit), habit == "many"
        self.ended: list[dict[str, str]] = []
        self.draining = False

    def beat(self) -> None:
        self.seq += 1
        line = {
            "v": 1, "seq": self.seq, "state": "draining" if self.draining else "ready", "registered": True,
            "calls": [self.call(job) for job in self.jobs] + self.silent_ones(), "ended": self.ended[-5:],
            "pids": [pid for pid, _ in self.jobs.values()],
        }  # fmt: skip
        with contextlib.suppress(BrokenPipeError):
            os.write(self.fd, json.dumps(line).encode() + b"\n")

    def call(self, job: str) -> dict[str, object]:
        pid, beats = self.jobs[job]
        told = self.lie() if self.lie is not None and job.endswith("-j0") else pid
        stamped = job_beats.read(beats)
        age = 0.0 if stamped is None else time.monotonic() - stamped
        return {"room": job.replace("-j", "-r"), "job": job, "pid": told, "idle": 0.0, "beat_age": age}

    def silent_ones(self) -> list[dict[str, object]]:
        """As many calls as fit into a heartbeat, none of which ever beats."""
        age, pid = time.monotonic() - BORN, next(iter(self.jobs.values()))[0] if self.jobs else None
        many = range(700 if self.many else 0)
        return [{"room": f"m{n}", "job": f"m{n}", "pid": pid, "beat_age": round(age, 1)} for n in many]

    def look_after_jobs(self) -> None:
        for job, (pid, beats) in list(self.jobs.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                os.close(beats)
                del self.jobs[job]
                self.ended.append({"room": job.replace("-j", "-r"), "job": job, "outcome": "killed"})

    def end(self, *_: object) -> None:
        self.draining = True


def mine(word: str) -> str:
    habit, _, place = word.partition("@")
    return habit if place in ("", os.environ[heartbeat.WORKER_NAME], os.environ[heartbeat.SLOT]) else ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=2)
    parser.add_argument("habits", nargs="*")
    options = parser.parse_args()
    faulthandler.register(signal.SIGUSR2)
    worker = Worker(options.calls, next((habit for word in options.habits if (habit := mine(word))), ""))
    signal.signal(signal.SIGTERM, worker.end)
    leash = int(os.environ[heartbeat.LEASH_FD])
    os.set_blocking(leash, False)
    while not (worker.draining and not worker.jobs):
        worker.look_after_jobs()
        worker.beat()
        time.sleep(BEAT)
        with contextlib.suppress(BlockingIOError):
            if os.read(leash, 1) == b"":
                break
    for pid, _ in worker.jobs.values():
        os.kill(pid, signal.SIGKILL)
    sys.exit(0)


if __name__ == "__main__":
    main()
