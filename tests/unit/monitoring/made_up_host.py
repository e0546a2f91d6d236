"""A made-up host in psutil's place: processes that a test starts, moves and ends, and what was read of them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from types import SimpleNamespace

import psutil

ME = os.getpid()
MB = 1024 * 1024


@dataclass
class Fact:
    """One process as the kernel would tell of it."""

    pid: int
    ppid: int
    session: int
    started: float = 1.0
    status: str = psutil.STATUS_SLEEPING
    cpu: float = 0.0
    rss: int = MB
    uid: int = field(default_factory=os.getuid)


class Handle:
    """As psutil.Process, of the made-up host."""

    def __init__(self, host: MadeUpHost, pid: int) -> None:
        host.reads.append(pid)
        if pid not in host.facts:
            raise psutil.NoSuchProcess(pid)
        self._host, self.pid = host, pid
        self._started = host.facts[pid].started

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and (self.pid, self._started) == (other.pid, other._started)

    def __hash__(self) -> int:
        return hash((self.pid, self._started))

    @property
    def _fact(self) -> Fact:
        if self.pid not in self._host.facts:
            raise psutil.NoSuchProcess(self.pid)
        return self._host.facts[self.pid]

    def is_running(self) -> bool:
        fact = self._host.facts.get(self.pid)
        return fact is not None and fact.started == self._started

    def oneshot(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def ppid(self) -> int:
        return self._fact.ppid

    def uids(self) -> SimpleNamespace:
        return SimpleNamespace(real=self._fact.uid)

    def status(self) -> str:
        return self._fact.status

    def name(self) -> str:
        return f"p{self.pid}"

    def create_time(self) -> float:
        return 1000.0 + self._started

    def cpu_times(self) -> SimpleNamespace:
        return SimpleNamespace(user=self._fact.cpu, system=0.0)

    def memory_info(self) -> SimpleNamespace:
        zombie = self._fact.status == psutil.STATUS_ZOMBIE
        return SimpleNamespace(rss=0 if zombie else self._fact.rss)

    def memory_full_info(self) -> SimpleNamespace:
        self._host.full_reads.append(self.pid)
        return SimpleNamespace(pss=self._fact.rss // 2, uss=self._fact.rss // 4)


class MadeUpHost:
    """`put` it in psutil's place."""

    def __init__(self) -> None:
        self.facts: dict[int, Fact] = {}
        self.reads: list[int] = []
        self.full_reads: list[int] = []
        self.start(1, 0)
        self.start(50, 1)
        self.start(ME, 1)

    def start(self, pid: int, ppid: int, session: int | None = None, **facts: object) -> None:
        self.facts[pid] = Fact(pid, ppid, pid if session is None else session, **facts)

    def end(self, *pids: int) -> None:
        for pid in pids:
            del self.facts[pid]

    def move(self, pid: int, ppid: int) -> None:
        """Its parent has died."""
        self.facts[pid].ppid = ppid

    def getsid(self, pid: int) -> int:
        if pid not in self.facts:
            raise ProcessLookupError
        return self.facts[pid].session

    def put(self, monkeypatch) -> MadeUpHost:
        monkeypatch.setattr(psutil, "pids", lambda: sorted(self.facts))
        monkeypatch.setattr(psutil, "Process", lambda pid: Handle(self, pid))
        monkeypatch.setattr(psutil, "boot_time", lambda: 1000.0)
        monkeypatch.setattr(os, "getsid", self.getsid)
        return self
