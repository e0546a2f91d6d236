"""The listening sockets of the daemon, bound before anything is started."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from mindbot_supervisor.errors import Refused


def bind_unix(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0600. Takes over a dead daemon's; raises Refused for a living one's."""
    if path.exists() or path.is_symlink():
        if _answers(path):
            raise Refused(f"a daemon is already running at {path}; stop it first, or use another --socket")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)  # never for a moment open to others
    try:
        listener.bind(str(path))
    except OSError as exc:
        listener.close()
        raise Refused(f"cannot listen at {path}: {exc.strerror}") from exc
    finally:
        os.umask(old)
    listener.listen(64)
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def bind_tcp(host: str, port: int) -> socket.socket:
    """A listening socket for the read-only pages. Raises Refused with the address and what is wrong with it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        raise Refused(f"cannot listen on {host}:{port} for HTTP: {exc.strerror}") from exc
    listener.listen(64)
    return listener
