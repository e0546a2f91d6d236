"""Finding the next supervisor: it listens in the runtime directory for the output of workers it did not start."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from mindbot_config.output import strict_json
from mindbot_worker.protocol import heartbeat

NAME = "output.sock"
TIMEOUT = 0.2
"""Seconds to connect: it is a socket of this host."""


def connect(environ: Mapping[str, str]) -> socket.socket | None:
    """A connection that has said who we are, or None where nobody listens."""
    folder, name = environ.get(heartbeat.RUNTIME_DIR), environ.get(heartbeat.WORKER_NAME)
    if not folder or not name:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT)
    try:
        connection.connect(str(Path(folder) / NAME))
        connection.sendall(strict_json.dump_bytes({"worker": name}) + b"\n")
    except OSError:
        connection.close()
        return None
    return connection
