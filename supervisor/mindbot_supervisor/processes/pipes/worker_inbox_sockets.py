"""The sockets on which workers take hints from the daemon: sends one datagram to a worker's socket in the runtime
directory, and removes the sockets that killed workers leave there.

Programs run by `--command` have no such socket and get no hints.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

from mindbot_worker.protocol import worker_inbox


def prepare(runtime_dir: Path, worker: str, pid: int, processes: int) -> None:
    """Ask a worker to keep so many job processes warm. It need not be there, nor listen."""
    path = runtime_dir / worker_inbox.file_name(worker, pid)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
        contextlib.suppress(OSError),
    ):
        sender.sendto(worker_inbox.warm(processes), str(path))


EVERY = "*"


def remove(runtime_dir: Path, worker: str = EVERY) -> None:
    """Remove the sockets of a worker that has ended; without a worker, of all that ended while no daemon ran."""
    with contextlib.suppress(OSError):
        for path in list(runtime_dir.glob(worker_inbox.file_name(worker, EVERY))):
            _remove(path)


def _remove(path: Path) -> None:
    """Remove a socket of our own user on which nobody listens, and nothing else of that name."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        if stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid() and _is_dead(path):
            path.unlink()


def _is_dead(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as asking:
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
