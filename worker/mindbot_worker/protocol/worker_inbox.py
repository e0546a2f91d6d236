"""What the supervisor tells a worker of ours, as one datagram to the socket on which its job processes report.

Only a hint: lost, late or not understood, it costs a caller a moment.
"""

from __future__ import annotations

MOST = 64
"""Job processes that anybody may ask for at once."""

_WARM = b"warm "


def file_name(worker: str, pid: int | str) -> str:
    """The socket of this worker, in the runtime directory; either may be a pattern."""
    return f"worker-{worker.replace('/', '_') or 'alone'}-{pid}.sock"


def warm(processes: int) -> bytes:
    """Have so many job processes ready: calls are coming."""
    return _WARM + str(min(processes, MOST)).encode()


def processes(datagram: bytes) -> int | None:
    """How many are to be ready; None for anything else."""
    number = datagram.removeprefix(_WARM)
    if number == datagram or not number.isdigit() or len(number) > 3:
        return None
    return min(int(number), MOST)
