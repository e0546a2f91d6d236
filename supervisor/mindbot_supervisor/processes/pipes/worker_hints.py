"""Sends a hint to a worker: one datagram to the worker's socket in the runtime directory.

Programs run by `--command` have no such socket and get no hints.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from mindbot_worker.protocol import worker_inbox


def prepare(runtime_dir: Path, worker: str, pid: int, processes: int) -> None:
    """Have it keep so many job processes warm. It need not be there, nor listen."""
    path = runtime_dir / worker_inbox.file_name(worker, pid)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
        contextlib.suppress(OSError),
    ):
        sender.sendto(worker_inbox.warm(processes), str(path))
