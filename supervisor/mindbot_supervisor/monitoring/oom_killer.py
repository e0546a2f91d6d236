"""Finds out whether the kernel's OOM killer ended a worker, by the kernel log and the counters of cgroups.

Certain is what the kernel log says of this very pid, and a rise of `oom_kill` in the worker's own cgroup that no other
victim accounts for. The counter of the whole host alone proves nothing about one process, and is told as a hint only.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mindbot_config.host import cgroups
from mindbot_config.host.cgroups import Mounts, number_after
from mindbot_config.host.descriptors import Descriptor
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.calls.call_outcomes import killed, name
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.workers.model import Change, Ref
from mindbot_worker.protocol.heartbeat import Beat

LOG = "/dev/kmsg"
VMSTAT = Path("/proc/vmstat")
COUNTERS = {1: "memory.oom_control", 2: "memory.events"}
"""Files with a line `oom_kill N`, by the version: memcg_test.txt of cgroup-v1 (since Linux 4.13), cgroup-v2.rst."""
SETTLED = 3.0
"""Seconds. A reading younger than that may already count the kill whose exit we are about to hear of: the counter
rises before the victim is gone, and a big process takes a while to go."""
MOVED_AFTER = 5.0
"""Seconds after which a worker's cgroup is looked up anew."""
READINGS = 64
"""Kept for one worker; with the shortest interval (0.05 s) that is still SETTLED."""
RECORDS = 4096
"""Kernel log records read in a row: more than its ring holds by default."""
INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""Inode of /proc/self/ns/pid where pids are those of the kernel log (PROC_PID_INIT_INO of the kernel)."""

_VICTIM = re.compile(rb"^([0-7]),[^;]*;.*Killed process (\d+) \(", re.DOTALL)
"""Facility 0, so that it was the kernel itself who wrote it; `mm/oom_kill.c`, unchanged since 2.6."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters at one moment; None where they cannot be read."""

    at: float
    path: Path | None
    """File with the counter of the worker's own cgroup."""
    kills: int | None
    host_kills: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What the kernel says about an end by SIGKILL. `detail` names where it was read."""

    certain: bool
    detail: str


def read(
    mounts: Mounts, roots: Mapping[int, Ref], now: float, known: Mapping[Ref, Reading] | None = None
) -> dict[Ref, Reading]:
    """The counters of the workers, by the pid of each root, where they may differ from the `known` readings.

    While the counter of the whole host stands still no cgroup's can have risen; only the worker may have been moved
    to another cgroup. With a thousand workers, reading them all each time was a third of the sampler's work.
    """
    host, before = host_kills(), known or {}
    found: dict[Ref, Reading] = {}
    read_already: dict[str, Reading] = {}
    for pid, ref in roots.items():
        if _may_differ(before.get(ref), host, now):
            place = mounts.lines(pid)  # mostly the same for all
            if place not in read_already:
                read_already[place] = _reading(counter_in(mounts, place), host, now)
            found[ref] = read_already[place]
    return found


def counter_in(mounts: Mounts, lines: str) -> Path | None:
    """The file that counts the OOM kills in a process's own cgroup; None where its cgroup keeps no count."""
    for version, chain in mounts.chains("memory", lines):
        if (chain[0] / COUNTERS[version]).exists():
            return chain[0] / COUNTERS[version]
    return None


def _may_differ(known: Reading | None, host: int | None, now: float) -> bool:
    return known is None or host is None or known.host_kills != host or now - known.at >= MOVED_AFTER


def host_kills() -> int | None:
    return _kills(VMSTAT)


def _kills(path: Path) -> int | None:
    """The number on the line `oom_kill N` of a file of such lines; None without the file or the line."""
    data = cgroups.read(path)
    return number_after(data, b"oom_kill ") if data is not None else None


def _reading(path: Path | None, host: int | None, now: float) -> Reading:
    return Reading(now, path, None if path is None else _kills(path), host)


class KernelLog:
    """The victims that the kernel log has named since we began to read it."""

    def __init__(self, path: str = LOG) -> None:
        self._log = _open(path)

    def victims(self) -> Iterable[int]:
        """Pids named since the last call."""
        if self._log is None:
            return
        for _ in range(RECORDS):
            try:
                record = self._log.read(8192)
            except BrokenPipeError:  # records were overwritten before we read them: the next read goes on after them
                continue
            except OSError:
                return
            found = _VICTIM.match(record)
            if found:
                yield int(found[2])

    def close(self) -> None:
        if self._log is not None:
            self._log.close()


def _open(path: str) -> Descriptor | None:
    """None without the right to read it, or in a container, whose pids are not those of the log."""
    with contextlib.suppress(OSError):
        if os.stat("/proc/self/ns/pid").st_ino == INITIAL_PID_NAMESPACE:  # noqa: PTH116
            log = Descriptor(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            os.lseek(log.fileno(), 0, os.SEEK_END)
            return log
    return None


@dataclass(slots=True)
class OomKiller:
    """Remembers readings and victims; `explain` answers for one worker. Belongs to one thread."""

    mounts: Mounts
    log: KernelLog
    _readings: dict[Ref, deque[Reading]] = field(default_factory=dict)
    _victims: dict[int, float] = field(default_factory=dict)
    _attributed: deque[tuple[Path, float]] = field(default_factory=lambda: deque(maxlen=READINGS))

    def spawned(self, ref: Ref, pid: int, now: float) -> None:
        """Note the pid of a new worker: what was known of an earlier process with this pid is void."""
        self._drain(now)
        self._victims.pop(pid, None)
        self.looked({ref: _reading(counter_in(self.mounts, self.mounts.lines(pid)), host_kills(), now)})

    def looked(self, readings: Mapping[Ref, Reading]) -> None:
        for ref, reading in readings.items():
            kept = self._readings.setdefault(ref, deque(maxlen=READINGS))
            kept.append(reading)
            while len(kept) > 1 and kept[1].at <= reading.at - SETTLED:
                kept.popleft()

    def forget(self, ref: Ref) -> None:
        self._readings.pop(ref, None)

    def explain(self, ref: Ref, pid: int, now: float) -> Finding | None:
        """What the kernel says of the SIGKILL that ended this process, which nobody here sent. None: nothing."""
        self._drain(now)
        if self._victims.pop(pid, None) is not None:
            return Finding(True, f"the kernel's OOM killer, by the kernel log ({LOG}): killed process {pid}")
        kept = self._readings.get(ref)
        if not kept:
            return None
        return self._by_cgroup(kept, now) or self._by_host(kept[0])

    def _by_cgroup(self, kept: Iterable[Reading], now: float) -> Finding | None:
        """By the counter of its cgroup, or of one that it was in just before."""
        first: dict[Path, Reading] = {}
        for reading in kept:
            if reading.path is not None and reading.kills is not None:
                first.setdefault(reading.path, reading)
        for path, before in first.items():
            after = _kills(path)
            others = sum(at >= before.at for at in self._victims.values())
            others += sum(place == path and at >= before.at for place, at in self._attributed)
            if after is not None and after - (before.kills or 0) > others:
                self._attributed.append((path, now))
                return Finding(True, f"the kernel's OOM killer: oom_kill in {path} went from {before.kills} to {after}")
        return None

    def _by_host(self, before: Reading) -> Finding | None:
        after = host_kills()
        if after is None or before.host_kills is None:
            return None
        others = sum(at >= before.at for at in self._victims.values())
        others += sum(at >= before.at for _, at in self._attributed)
        if after - before.host_kills <= others:
            return None
        said = f"oom_kill in {VMSTAT} went from {before.host_kills} to {after}"
        return Finding(False, f"SIGKILL by somebody else; perhaps the kernel's OOM killer, which was at work: {said}")

    def _drain(self, now: float) -> None:
        for pid in self.log.victims():
            self._victims[pid] = now
        while len(self._victims) > READINGS:
            self._victims.pop(next(iter(self._victims)))


def jobs_killed(oom: OomKiller, pool: Pool, ref: Ref, beat: Beat, now: float) -> Iterator[Change]:
    """Job processes that the OOM killer ended while their worker lives, as far as that is certain.

    To be asked before the pool hears this beat.
    """
    worker, history = pool.workers.get(ref), pool.histories.get(ref)
    if not beat.ended or worker is None or history is None:
        return
    for call in killed(history.calls(), beat):
        found = oom.explain(ref, call.pid, now) if call.pid is not None else None
        if found is not None and found.certain:
            fields = {**name(call), "process": call.pid, "detail": found.detail}
            yield Change(log_events.WORKER_OOM, now, ref, worker.pid, "error", fields)
