"""The client side of the control socket: one small HTTP request over a Unix socket, with the standard library only."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from .errors import Refused, SupervisorError, Unavailable

TIMEOUT = 10.0
"""Seconds for an answer: the daemon answers from memory."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(
    path: Path, method: str, page: str, fields: dict[str, object] | None = None, *, timeout: float = TIMEOUT
) -> Any:
    """The daemon's answer. Raises Unavailable when none is there, Refused with the daemon's own words."""
    connection = _Connection(path, timeout)
    try:
        body = json.dumps(fields) if fields is not None else None
        connection.request(method, page, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        data = json.loads(answer.read())
    except PermissionError as exc:
        raise Unavailable(f"cannot use {path}: it belongs to another user") from exc
    except (FileNotFoundError, ConnectionRefusedError) as exc:
        raise Unavailable(f"no daemon is running at {path}") from exc
    except TimeoutError as exc:
        raise Unavailable(f"the daemon at {path} did not answer within {timeout:.0f} s") from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise SupervisorError(f"no usable answer from {path}: {exc}") from exc
    finally:
        connection.close()
    if answer.status >= 400:
        raise Refused(str(data.get("error", answer.reason)) if isinstance(data, dict) else answer.reason)
    return data
