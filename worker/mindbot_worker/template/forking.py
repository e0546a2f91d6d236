"""Turns a forked copy of the template into a worker: session, output, environment, name."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from mindbot_worker.jobs import process_setup
from mindbot_worker.livekit_adapter import job_forkserver
from mindbot_worker.logging import nonblocking_output
from mindbot_worker.protocol import heartbeat
from mindbot_worker.template.fork_requests import ForkedWorker


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
