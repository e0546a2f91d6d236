"""Encodes the supervisor's request for warm job processes, a datagram to the socket on which a worker's jobs report.

The request may be lost or come late: then a caller waits a little longer.
"""

from __future__ import annotations

MOST = 64
"""Job processes that anybody may ask for at once."""

_WARM = b"warm "


def file_name(worker: str, pid: int | str) -> str:
    """The name of a worker's socket in the runtime directory. Both arguments may be glob patterns."""
    return f"worker-{worker.replace('/', '_') or 'alone'}-{pid}.sock"


def warm(processes: int) -> bytes:
    """The datagram that asks for so many ready job processes, as calls are coming."""
    return _WARM + str(min(processes, MOST)).encode()


def processes(datagram: bytes) -> int | None:
    """How many job processes a datagram asks for; None if it is no such request."""
    number = datagram.removeprefix(_WARM)
    if number == datagram or not number.isdigit() or len(number) > 3:
        return None
    return min(int(number), MOST)
