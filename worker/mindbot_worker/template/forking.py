"""Checks whether the template can be forked safely, and turns a forked process into a worker."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path

from mindbot_worker.jobs import process_setup
from mindbot_worker.livekit_adapter import job_forkserver
from mindbot_worker.logging import nonblocking_output
from mindbot_worker.protocol import heartbeat
from mindbot_worker.template.fork_requests import ForkedWorker

KNOWN_PYTHONS = ((3, 11), (3, 12), (3, 13))
"""Versions whose multiprocessing.forkserver was read, and fits `livekit_adapter.job_forkserver`."""

SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
"""numpy's OpenBLAS and onnxruntime start a thread each when they are imported, unless they are told not to."""


def why_not() -> str:
    """Why forking is unsafe here, in words for an operator; empty if nothing speaks against it."""
    if sys.version_info[:2] not in KNOWN_PYTHONS:
        return f"Python {sys.version_info.major}.{sys.version_info.minor} is not known to fork safely here"
    return _threads() or _event_loops()


def _threads() -> str:
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others:
        return f"importing the agent starts a thread ({', '.join(others[:3])})"
    alive = len(list(Path("/proc/self/task").iterdir()))
    if alive > 1:
        return f"importing the agent starts {alive - 1} thread(s) of a native library"
    return ""


def _event_loops() -> str:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target == "anon_inode:[eventpoll]":
            return "importing the agent starts an event loop"
    return ""


def become_worker(worker: ForkedWorker, template: socket.socket) -> None:
    """Give this process the session, output, environment and signals of a worker that was started by itself."""
    os.setsid()
    template.close()
    with worker.output as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    nonblocking_output.renew()
    process_setup.note_shared_environment(os.environ)
    os.environ.update(worker.environ)
    os.environ[heartbeat.HEARTBEAT_FD], os.environ[heartbeat.LEASH_FD] = (
        str(worker.heartbeat.detach()),
        str(worker.leash.detach()),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    Path("/proc/self/comm").write_text(heartbeat.process_name(worker.worker))
    job_forkserver.use_shared()
