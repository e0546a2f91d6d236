"""The fault matrix: every fault in every state it can occur in, and what must come of it. `make matrix` prints it.

All faults of one state share one daemon, with a slot each; the slots without a fault are the siblings that must not
notice. The table below is the specification; `played` plays one state and keeps what was seen.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from functional.daemon import Daemon, Record, stub
from mindbot_supervisor import client

IDLE, CALL, CALLS, DRAINING, STARTING = "idle", "one call", "calls", "draining", "starting"
STATES = (IDLE, CALL, CALLS, DRAINING, STARTING)
WORDS = {IDLE: (), CALL: ("call",), CALLS: ("calls",), DRAINING: ("call", "drained"), STARTING: ("starting",)}
IN_CALL = {IDLE: 0, CALL: 1, CALLS: 3, DRAINING: 1, STARTING: 0}
SIBLINGS = 2
PATIENCE = 60.0
"""Seconds for all faults of one state to have come to their end."""

SETTINGS = {
    "LIMITS__BEAT_INTERVAL": "0.2",
    "LIMITS__CHECK_INTERVAL": "0.2",
    "LIMITS__SUSPECT_AFTER": "2",
    "LIMITS__HUNG_AFTER": "4",
    "LIMITS__BEATS_REJECTED_MAX": "5",
    "LIMITS__MEMORY_SOFT_MB": "70",
    "LIMITS__MEMORY_HARD_MB": "90",
    "LIMITS__CPU_PERCENT": "20",
    "LIMITS__CPU_WINDOW": "8",
    "LIMITS__LEAK_HORIZON": "0",
    "POOL__START_TIMEOUT": "8",
    "POOL__STOP_TIMEOUT": "6",
    "POOL__MAX_STARTING": "4",
    "POOL__MAX_UNAVAILABLE": "8",
    "WORKER__HEARTBEAT": "required",
}
CALL_SECONDS = 12
"""Calls end by themselves after that, so that drained workers end too."""


@dataclass(frozen=True)
class End:
    """How a worker must end. `calls` is what becomes of its calls: lost, cut (by us) or ended."""

    verdict: str
    reason: str | None = None
    calls: str = "lost"
    within: float = 30.0
    """Seconds of life, a generous bound."""
    fields: dict[str, object] = field(default_factory=dict)
    """Of the worker.exited record."""
    stack: str = ""
    """A word that the journal must have in the worker's stack."""

    def __str__(self) -> str:
        how = self.fields.get("signal") or (f"exit {self.fields['code']}" if "code" in self.fields else "")
        return " ".join(filter(None, (self.verdict, self.reason if self.reason != "crash" else "", str(how))))


KEPT = None
"""It is no reason to replace anybody: the worker is still there at the end."""


def crashed(code: int) -> End:
    return End("crashed", "crash", fields={"code": code})


def killed(reason: str, stack: str = "") -> End:
    return End("killed", reason, "cut", stack=stack)


def by_signal(name: str) -> End:
    return End("signal", "crash", fields={"signal": name})


def drained(reason: str) -> End:
    return End("asked", reason, "ended", within=40.0, fields={"code": 0})


OOM = End("oom", "crash", fields={"signal": "SIGKILL"})
PARKED = crashed(1)
LEFT = drained("operator")
"""The end of a draining worker whose fault changes nothing."""

# fault: habits of the stub, then what comes of it when idle, with one call, with several, draining, starting;
# "-" where it cannot occur
TABLE: dict[str, tuple[str, tuple[End | str | None, ...]]] = {
    "exit 0": ("exit_0", (crashed(0), crashed(0), crashed(0), LEFT, crashed(0))),
    "exit n": ("crash", (crashed(3),) * 5),
    "SEGV": ("segv", (by_signal("SIGSEGV"),) * 5),
    "SIGKILL from outside": ("sigkill", (by_signal("SIGKILL"),) * 5),
    "kernel OOM": ("oom", (OOM,) * 5),
    "blocked in Python": ("hang", (killed("hung", " hang"),) * 5),
    "blocked in C": ("hang_c", (killed("hung", " hang_c"),) * 5),
    "SIGSTOP": ("stop", (killed("hung", "state T"),) * 5),
    "ignores TERM": ("ignore_term", ("-", "-", "-", killed("drain_timeout", " main"), "-")),
    "grandchild in its own session": ("daemonise crash", (crashed(3),) * 5),
    "garbage beats": ("only_garbage", (drained("broken"),) * 3 + ("-", "-")),
    "stops beating but lives": ("silent", (killed("hung", " silent"),) * 3 + ("-", killed("hung", " silent"))),
    "slow boot": ("slow_boot", ("-", "-", "-", "-", KEPT)),
    "blocked at boot": ("mute", ("-", "-", "-", "-", killed("start", " mute"))),
    "dies at boot": ("dies_at_boot", ("-", "-", "-", "-", PARKED)),
    "fd leak": ("fd_leak", (crashed(1),) * 5),
    "leak 20 MB/s": ("leak", (killed("memory", " leak"),) * 5),
    "100 % CPU": ("busy", (drained("cpu"), KEPT, KEPT, LEFT, "-")),
    "stdout flood": ("flood", (KEPT, KEPT, KEPT, LEFT, KEPT)),
    "error burst": ("errors", (drained("errors"),) * 3 + (LEFT, "-")),
    "job storm": ("storm", (drained("storm"),) * 3 + (LEFT, "-")),
}
CELLS = [(fault, state) for state in STATES for fault, (_, ends) in TABLE.items() if ends[STATES.index(state)] != "-"]


def expected(fault: str, state: str) -> End | None:
    end = TABLE[fault][1][STATES.index(state)]
    assert not isinstance(end, str)
    return end


@dataclass(frozen=True)
class Played:
    """One state, played: which slot had which fault, and all that was seen."""

    slots: dict[str, int]
    records: list[Record]
    journal: list[dict[str, Any]]
    before_stop: Record
    """The status when every fault had come to its end."""
    zombies: list[int]
    left_behind: list[int]
    seconds: float
    no_oom: str

    def of(self, fault: str, event: str, generation: int = 1) -> list[Record]:
        name = f"{self.slots[fault]}.{generation}"
        return [each for each in self.records if each["event"] == event and each.get("worker") == name]

    def ended(self, fault: str) -> Record | None:
        return next(iter(self.of(fault, "worker.exited")), None)


@cache
def played(state: str) -> Played:
    """Play all faults of a state, once for all tests."""
    faults = [fault for fault, at in CELLS if at == state]
    with tempfile.TemporaryDirectory(prefix="matrix") as folder, cgroups(Path(folder)) as (groups, no_oom):
        slots = {fault: slot for slot, fault in enumerate(faults)}
        words = [word for fault, slot in slots.items() for word in _words(fault, state, slot, no_oom)]
        if groups is not None and "kernel OOM" in slots:
            make_cgroup(groups / f"{slots['kernel OOM']}.1")
        settings = {f"MINDBOT_{name}": value for name, value in SETTINGS.items()} | {"STUB_CGROUPS": str(groups)}
        arguments = ["--workers", str(len(faults) + SIBLINGS), *stub("--call-seconds", str(CALL_SECONDS), *words)]
        began = time.monotonic()
        with Daemon(Path(folder), *arguments, environ=settings) as daemon:
            found = _play(daemon, state, slots, no_oom)
            lines = (daemon.state_dir / "flight" / "flight.jsonl").read_text().splitlines()
            journal = [json.loads(line) for line in lines]
            return Played(slots, daemon.records, journal, *found, time.monotonic() - began, no_oom)


def _words(fault: str, state: str, slot: int, no_oom: str) -> list[str]:
    """What the stub of this slot is told: the state and the habits, for its first generation only."""
    habits = TABLE[fault][0].split()
    if fault == "kernel OOM" and no_oom:
        return []
    if fault == "dies at boot":
        return [f"{habit}@{slot}" for habit in habits]  # whenever it is tried again
    context = () if fault in ("ignores TERM", "slow boot") else WORDS[state]
    return [f"{word}@{slot}.1" for word in (*context, *habits)]


def _play(daemon: Daemon, state: str, slots: dict[str, int], no_oom: str) -> tuple[Record, list[int], list[int]]:
    if state == DRAINING:
        daemon.ready(len(slots) + SIBLINGS, PATIENCE)
        daemon.until(lambda: _term_is_settled(daemon.worker(f"{slots['ignores TERM']}.1")), PATIENCE)
        for slot in slots.values():
            client.ask(daemon.socket, "POST", "/drain", {"worker": str(slot)})
    ends = [fault for fault in slots if expected(fault, state) is not KEPT and not (fault == "kernel OOM" and no_oom)]
    waited = time.monotonic() + PATIENCE
    for fault in ends:
        with contextlib.suppress(AssertionError):  # the cell's own test tells what is missing
            daemon.wait("worker.exited", worker=f"{slots[fault]}.1", timeout=max(waited - time.monotonic(), 0.1))
    if "dies at boot" in slots:
        with contextlib.suppress(AssertionError):
            daemon.wait("slot.parked", slot=slots["dies at boot"], timeout=max(waited - time.monotonic(), 0.1))
    with contextlib.suppress(AssertionError):
        daemon.until(lambda: daemon.process.poll() is not None or not _zombies(daemon), 5)
    assert daemon.process.poll() is None, f"the daemon has ended: {daemon.errors}{daemon.tail()}"
    status, zombies = daemon.status(), _zombies(daemon)
    daemon.client("stop", "--now")
    daemon.end()
    return status, zombies, daemon.left_behind()


def _term_is_settled(row: Record | None) -> bool:
    """It ignores SIGTERM by now."""
    if not row or not row["pid"]:
        return False
    ignored = next(line for line in Path(f"/proc/{row['pid']}/status").read_text().splitlines() if "SigIgn" in line)
    return bool(int(ignored.split()[1], 16) >> 14 & 1)


def _zombies(daemon: Daemon) -> list[int]:
    children = psutil.Process(daemon.process.pid).children(recursive=True)
    found = []
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_ZOMBIE:
                found.append(child.pid)
    return found


# -- cgroups for the kernel's OOM killer -------------------------------------------------------------------------------

V1 = Path("/sys/fs/cgroup/memory")
OOM_LIMIT = 40 * 1024 * 1024
"""Bytes; the stub itself takes some 10 MiB."""


@contextlib.contextmanager
def cgroups(folder: Path):
    """A directory for cgroups with a memory limit, and why there is none; everything in it is swept afterwards."""
    base = V1 / folder.name
    try:
        if not (V1 / "memory.limit_in_bytes").exists():
            raise OSError("no cgroup v1 memory controller here")
        base.mkdir()
    except OSError as exc:
        yield None, f"cannot make a memory cgroup: {exc}"
        return
    try:
        yield base, ""
    finally:
        for path in sorted(base.rglob("*"), reverse=True):
            if path.is_dir():
                _remove(path)
        _remove(base)


def make_cgroup(path: Path) -> None:
    path.mkdir()
    (path / "memory.limit_in_bytes").write_text(str(OOM_LIMIT))


def _remove(path: Path) -> None:
    """A cgroup can be removed once its last process is reaped."""
    until = time.monotonic() + 5
    while True:
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
            continue
        return


# -- for people --------------------------------------------------------------------------------------------------------


def table() -> str:
    """What came of every cell, with the seconds from its start to its end."""
    rows = [["", *STATES]]
    for fault in TABLE:
        rows.append([fault, *(_cell(fault, state) for state in STATES)])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _cell(fault: str, state: str) -> str:
    if (fault, state) not in CELLS:
        return "-"
    seen = played(state)
    ended = seen.ended(fault)
    if fault == "kernel OOM" and seen.no_oom:
        return "skipped"
    if ended is None or ended.get("reason") == "stop":
        return "kept"
    return f"{ended['verdict']} {ended.get('reason') or ''} {ended['uptime']:.0f} s"


if __name__ == "__main__":
    print(table())
    print("seconds:", ", ".join(f"{state} {played(state).seconds:.0f}" for state in STATES))
    sys.exit(0)
