"""`upgrade` and SIGUSR2: the daemon becomes its newly installed version, and its workers notice nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Collection, MutableSet

from . import handover
from .errors import Refused

PROBE_TIMEOUT = 60.0
"""Seconds for the new version to show that it can start."""


async def probe(state: handover.State, children: MutableSet[int]) -> None:
    """Let the installed version read the state and the settings in a process of its own. Raises Refused."""
    process = _start_probe(state)
    children.add(process.pid)
    try:
        _, errors = await asyncio.to_thread(process.communicate, None, PROBE_TIMEOUT)
    except subprocess.TimeoutExpired as exc:
        process.kill()
        await asyncio.to_thread(process.wait)
        raise Refused(f"the new version did not start within {PROBE_TIMEOUT:.0f} s") from exc
    finally:
        children.discard(process.pid)
    if process.returncode != 0:
        words = errors.decode(errors="replace").strip().splitlines()
        why = words[-1] if words else f"exit code {process.returncode}"
        raise Refused(f"the new version cannot start: {why}; the old one goes on")


def _start_probe(state: handover.State) -> subprocess.Popen[bytes]:
    fd = handover.write(state)
    command = [sys.executable, "-m", "mindbot_supervisor.probe", str(fd), *sys.argv[1:]]
    nothing = subprocess.DEVNULL
    try:
        return subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=subprocess.PIPE, pass_fds=[fd])
    except OSError as exc:
        raise Refused(f"the new version cannot start: {exc.strerror}") from exc
    finally:
        os.close(fd)
        _inheritable(state.fds(), False)


def become(state: handover.State, signals: Collection[signal.Signals]) -> None:
    """Replace this program by the installed version. Returns only by OSError, with everything as it was.

    Signals that arrive meanwhile wait until the new version serves them.
    """
    fd = handover.write(state)
    environ = {**os.environ, handover.VARIABLE: str(fd)}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606
    except OSError:
        os.close(fd)
        _inheritable(state.fds(), False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        raise


def _inheritable(fds: Collection[int], yes: bool) -> None:
    for fd in fds:
        os.set_inheritable(fd, yes)
