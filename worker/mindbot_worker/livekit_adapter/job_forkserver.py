"""Runs one forkserver for the job processes of all workers: a fork of the template, which has everything imported.

The standard library starts a forkserver in every process. Here the template starts one, and its workers inherit the
socket to it. Read from multiprocessing/forkserver.py and popen_forkserver.py of Python 3.11 to 3.13.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterable
from multiprocessing import forkserver, popen_forkserver, resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from mindbot_config.host.descriptors import Descriptor
from mindbot_worker import agent_path
from mindbot_worker.logging import setup as output

WARM_UP = ("mindbot_worker.jobs.preload", "livekit.agents.ipc._preload")
"""What every job process shares; the second is LiveKit's own preparation of a forkserver."""

NAME = "mindbot-jobs"
"""The forkserver's process name, in /proc/PID/comm."""

ADDRESS_MAX = 107
"""Characters of a Unix socket's path (sun_path in unix(7))."""

UNKNOWN_EXIT = 255
"""The standard library's exit code for a process that outlived the forkserver, so that nobody knows its own."""

_pidfd: Descriptor | None = None
"""A pidfd of the shared forkserver, in a worker that uses it."""


def start(folder: Path, modules: list[str], template: socket.socket) -> int:
    """Fork the forkserver and return its pid. Its socket is in `folder`, which only our user may enter.

    `modules` are imported in it; it closes `template`, the template's socket to the supervisor.
    """
    resource_tracker.ensure_running()
    listener = socket.socket(socket.AF_UNIX)
    address = str(folder / f"jobs-{os.getpid()}.sock")
    if len(address) > ADDRESS_MAX:
        address = str(Path(tempfile.mkdtemp(prefix="mindbot-")) / "jobs.sock")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(address)  # noqa: PTH108
    os.fchmod(listener.fileno(), 0o600)  # Linux gives the file the mode of the socket, less the umask
    listener.bind(address)
    listener.listen(64)
    known = os.open(address, os.O_PATH | os.O_CLOEXEC)
    alive, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(held)
        template.close()
        _serve(listener, alive, modules)
    os.close(alive)
    listener.close()
    server: Any = forkserver._forkserver
    # by the socket itself and not by its name: workers inherit the descriptor, and the name may be removed
    server._forkserver_address = f"/proc/self/fd/{known}"
    server._forkserver_alive_fd, server._forkserver_pid = held, pid
    return pid


def _serve(listener: socket.socket, alive: int, modules: list[str]) -> None:
    """Be the forkserver. Never returns."""
    code = 1
    try:
        Path("/proc/self/comm").write_text(NAME)
        output.leave_to_livekit()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends when its last client does
        _import(modules)
        with agent_path.without_agent_folder():
            _import(WARM_UP)
        gc.collect()
        gc.freeze()
        address = listener.getsockname()
        try:
            forkserver.main(listener.detach(), alive, [])
        finally:
            with contextlib.suppress(OSError):
                os.unlink(address)  # noqa: PTH108
    except SystemExit:
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _import(names: Iterable[str]) -> None:
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def use_shared() -> None:
    """In a forked worker: use the template's forkserver, and go on when that one ends."""
    global _pidfd
    server: Any = forkserver._forkserver
    # the original waits for its own child; here it is the template's
    server.ensure_running = lambda: None
    with contextlib.suppress(OSError):
        _pidfd = Descriptor(os.pidfd_open(server._forkserver_pid))
    popen_forkserver.Popen.poll = _poll  # type: ignore[method-assign]


def is_shared() -> bool:
    """Whether this process uses a forkserver that belongs to all workers."""
    return popen_forkserver.Popen.poll is _poll


def is_gone() -> bool:
    """Whether the shared forkserver has ended, so that no job process can be started any more."""
    return is_shared() and (_pidfd is None or bool(wait([_pidfd.fileno()], 0)))


def _poll(self: Any, flag: int = os.WNOHANG) -> int | None:
    """`Popen.poll`, except that a forkserver which died takes no running job with it.

    The standard library takes the end of the forkserver for the end of all processes that it forked.
    """
    if self.returncode is not None:
        return int(self.returncode)
    timeout = 0 if flag == os.WNOHANG else None
    if not wait([self.sentinel], timeout):
        return None
    try:
        self.returncode = forkserver.read_signed(self.sentinel)
    except (OSError, EOFError):
        if _lives(self.pid, timeout):
            return None
        self.returncode = UNKNOWN_EXIT
    return int(self.returncode)


def _lives(pid: int, timeout: float | None) -> bool:
    """Whether a process still runs after `timeout` seconds; None waits for its end."""
    try:
        opened = os.pidfd_open(pid)
    except OSError:
        return False
    with Descriptor(opened) as pidfd:
        return not wait([pidfd.fileno()], timeout)
