"""Makes a forked copy of the template a worker of its own: session, output, environment, name."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from mindbot_worker import wire
from mindbot_worker.jobs import home
from mindbot_worker.output import stdio
from mindbot_worker.template import jobserver
from mindbot_worker.template.serving import Birth


def settle(birth: Birth, template: socket.socket) -> None:
    """Afterwards the process is as if it had been started with this environment and these descriptors."""
    os.setsid()
    template.close()
    with birth.output as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    stdio.renew()
    home.leave(os.environ)
    os.environ.update(birth.environ)
    os.environ[wire.HEARTBEAT_FD], os.environ[wire.LEASH_FD] = str(birth.heartbeat.detach()), str(birth.leash.detach())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    Path("/proc/self/comm").write_text(wire.process_name(birth.worker))
    jobserver.adopt()
