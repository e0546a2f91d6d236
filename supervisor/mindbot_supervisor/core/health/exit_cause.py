"""The cause of a worker's end: asked, crashed, signal, OOM, or killed by us. Told from facts, never guessed."""

from __future__ import annotations

from signal import SIGKILL, SIGTERM, Signals

from mindbot_supervisor.core.workers.model import Death, Exit, LastExit, Phase, Reason, Worker
from mindbot_worker.protocol.heartbeat import Failure


def cause(worker: Worker, ended: Exit) -> Death:
    """Exit code 0 that nobody asked for is a crash: LiveKit's own command line exits 0 on every fatal failure."""
    if worker.pid is None:
        return Death.ASKED  # it was withdrawn before it ran
    if worker.killed and ended.signal == SIGKILL:
        return Death.KILLED
    if ended.oom:
        return Death.OOM
    if worker.leftover:
        return Death.ASKED  # whose child it is not, that one is not told how it ended
    if worker.phase is Phase.DRAINING and (ended.code == 0 or ended.signal == SIGTERM):
        return Death.ASKED
    return Death.CRASHED if ended.signal is None else Death.SIGNAL


def describe(worker: Worker, ended: Exit, now: float, calls: int) -> LastExit:
    verdict = cause(worker, ended)
    reason = worker.leaving.reason if worker.leaving is not None else Reason.CRASH
    if verdict in (Death.CRASHED, Death.SIGNAL, Death.OOM):
        reason = Reason.CRASH if worker.phase is not Phase.KILLING else reason
    return LastExit(verdict, ended.code, ended.signal, reason, now, calls)


def fields(last: LastExit, worker: Worker, failure: Failure | None, detail: str = "") -> dict[str, object]:
    """The evidence as log fields."""
    found: dict[str, object] = {
        "verdict": last.verdict.value,
        "code": last.code,
        "signal": signal_name(last.signal),
        "reason": last.reason.value if last.reason is not None else None,
        "uptime": round(last.at - worker.spawned_at, 3),
        "calls": last.calls,
    }
    words = failure.message if failure is not None else detail
    return {**found, "detail": words} if words else found


def signal_name(number: int | None) -> str | None:
    """`SIGSEGV` for 11; `signal 64` for one without a name."""
    if number is None:
        return None
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"
