"""The client side of the control socket: one small HTTP request over a Unix socket.

It is written out here because `http.client` takes a third of the time of a whole command to load.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from mindbot_supervisor.errors import Refused, SupervisorError, Unavailable

TIMEOUT = 10.0
"""Seconds for an answer: the daemon answers from memory."""


def ask(
    path: Path, method: str, page: str, fields: dict[str, object] | None = None, *, timeout: float = TIMEOUT
) -> Any:
    """The daemon's answer. Raises Unavailable when none is there, Refused with the daemon's own words."""
    try:
        status, reason, body = _parse(_exchange(path, _request(method, page, fields), timeout))
        data = json.loads(body)
    except PermissionError as exc:
        raise Unavailable(f"cannot use {path}: it belongs to another user") from exc
    except (FileNotFoundError, ConnectionRefusedError) as exc:
        raise Unavailable(f"no daemon is running at {path}") from exc
    except TimeoutError as exc:
        raise Unavailable(f"the daemon at {path} did not answer within {timeout:.0f} s") from exc
    except (OSError, ValueError) as exc:
        raise SupervisorError(f"no usable answer from {path}: {exc}") from exc
    if status >= 400:
        raise Refused(str(data.get("error", reason)) if isinstance(data, dict) else reason)
    return data


def _request(method: str, page: str, fields: dict[str, object] | None) -> bytes:
    """HTTP/1.0: the daemon answers in one piece and closes the connection."""
    body = json.dumps(fields).encode() if fields is not None else b""
    about = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if fields is not None else ""
    return f"{method} {page} HTTP/1.0\r\nHost: localhost\r\n{about}\r\n".encode() + body


def _exchange(path: Path, request: bytes, timeout: float) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(request)
        answer = bytearray()
        while data := connection.recv(64 * 1024):
            answer += data
        return bytes(answer)


def _parse(answer: bytes) -> tuple[int, str, bytes]:
    """Status, its reason, and the body. Raises ValueError for what is no answer, or not all of it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    protocol, _, rest = first.partition(" ")
    code, _, reason = rest.partition(" ")
    if not protocol.startswith("HTTP/") or not code.isdecimal():
        raise ValueError("the connection was closed" if not answer else "it is not HTTP")
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "content-length" and int(value) != len(body):
            raise ValueError(f"{len(body)} of {int(value)} bytes came")
    return int(code), reason, body
