"""The TCP socket of the read-only pages, bound before anything is started."""

from __future__ import annotations

import socket

from mindbot_supervisor.errors import Refused

BACKLOG = 128


def bind_tcp(host: str, port: int) -> socket.socket:
    """A listening socket for the read-only pages. Raises Refused with the address and what is wrong with it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, UnicodeError) as exc:
        listener.close()
        raise Refused(f"cannot listen on {host}:{port} for HTTP: {getattr(exc, 'strerror', None) or exc}") from exc
    return listener
