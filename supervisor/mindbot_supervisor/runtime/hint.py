"""A word to a worker of ours: to its socket in the runtime directory. Other programs have none, and need none."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from mindbot_worker import wire_inbox


def prepare(runtime_dir: Path, worker: str, pid: int, processes: int) -> None:
    """Have it keep so many job processes warm. It need not be there, nor listen."""
    path = runtime_dir / wire_inbox.file_name(worker, pid)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
        contextlib.suppress(OSError),
    ):
        sender.sendto(wire_inbox.warm(processes), str(path))
