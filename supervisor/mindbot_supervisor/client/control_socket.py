"""One request to the daemon over its control socket, and its answer: bounded in time and in size.

It is written out here because `http.client` takes a third of the time of a whole command to load.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mindbot_config.output import strict_json
from mindbot_supervisor.errors import BadConfig, Refused, SupervisorError, Unavailable

TIMEOUT = 10.0
"""Seconds until the whole answer is there: the daemon answers from memory."""
PATH_MAX = 107
"""Bytes of a Unix socket's path: `sun_path` of unix(7) is 108, with its closing NUL."""
ANSWER_MAX = 64 * 2**20
"""Bytes of an answer that are read: far more than the status of 1,024 workers."""
HEAD_MAX = 64 * 1024
BACKLOG_PAUSE = 0.05
"""Seconds between two attempts to connect while the daemon's queue of connections is full."""
SERVER_ERROR, BUSY = 500, 503


def ask(
    path: Path, method: str, page: str, fields: dict[str, object] | None = None, *, timeout: float = TIMEOUT
) -> dict[str, Any]:
    """The daemon's answer. Raises Unavailable where no daemon answers properly, Refused with the daemon's own words,
    and BadConfig for a path that no socket can have.
    """
    _check_path(path)
    with _told_plainly(path, timeout):
        status, reason, body = _exchange(path, _request(method, page, fields), time.monotonic() + timeout)
    data = _json(body)
    if status == BUSY:
        raise Unavailable(f"the daemon at {path} is busy: {_words(data, reason)}; try again")
    if status >= SERVER_ERROR:
        raise SupervisorError(f"the daemon at {path} failed: {_words(data, reason)}; its log has more")
    if status >= 400:
        raise Refused(_words(data, reason))
    if not isinstance(data, dict):
        raise Unavailable(f"no usable answer from {path}: it is not a JSON object")
    return data


def _check_path(path: Path) -> None:
    if (length := len(os.fsencode(path))) > PATH_MAX:
        raise BadConfig(f'socket = "{path}": must be at most {PATH_MAX} bytes long, and has {length}')


@contextlib.contextmanager
def _told_plainly(path: Path, timeout: float) -> Iterator[None]:
    """What can go wrong on the way, in words for people."""
    try:
        yield
    except PermissionError as exc:
        raise Unavailable(f"cannot use {path}: it belongs to another user") from exc
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as exc:
        raise Unavailable(f"no daemon is running at {path}") from exc
    except TimeoutError as exc:
        raise Unavailable(f"the daemon at {path} did not answer within {timeout:.0f} s") from exc
    except (BrokenPipeError, ConnectionResetError) as exc:
        raise Unavailable(f"no usable answer from {path}: the connection was closed") from exc
    except (OSError, ValueError) as exc:
        raise Unavailable(f"no usable answer from {path}: {exc}") from exc


def _request(method: str, page: str, fields: dict[str, object] | None) -> bytes:
    """HTTP/1.0: the daemon answers in one piece and closes the connection."""
    body = strict_json.dump_bytes(fields) if fields is not None else b""
    about = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if fields is not None else ""
    return f"{method} {page} HTTP/1.0\r\nHost: localhost\r\n{about}\r\n".encode() + body


def _exchange(path: Path, request: bytes, until: float) -> tuple[int, str, bytes]:
    """Status, its reason, and the body. Raises OSError, and ValueError for what is no answer, or not all of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        _connect(connection, path, until)
        connection.settimeout(_left(until))
        connection.sendall(request)
        head, rest = _head(connection, until)
        code, reason, length = _parse(head)
        return code, reason, _body(connection, rest, length, until)


def _connect(connection: socket.socket, path: Path, until: float) -> None:
    """A daemon that has many connections waiting refuses more for a moment."""
    while True:
        connection.settimeout(_left(until))
        try:
            return connection.connect(os.fspath(path))
        except BlockingIOError:
            time.sleep(min(BACKLOG_PAUSE, _left(until)))


def _left(until: float) -> float:
    if (left := until - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _receive(connection: socket.socket, until: float) -> bytes:
    connection.settimeout(_left(until))
    return connection.recv(64 * 1024)


def _head(connection: socket.socket, until: float) -> tuple[bytes, bytes]:
    """The lines before the body, and what came of the body with them."""
    came = bytearray()
    while b"\r\n\r\n" not in came and len(came) <= HEAD_MAX and (data := _receive(connection, until)):
        came += data
    head, end, rest = bytes(came).partition(b"\r\n\r\n")
    if not end and head.startswith(b"HTTP/"):
        raise ValueError("the connection was closed" if len(came) <= HEAD_MAX else "its head is too long")
    if not head:
        raise ValueError("the connection was closed")
    return head, rest


def _parse(head: bytes) -> tuple[int, str, int | None]:
    """The status, its reason, and the length of the body where it is told."""
    first, *lines = head.decode("latin-1").split("\r\n")
    protocol, _, rest = first.partition(" ")
    code, _, reason = rest.partition(" ")
    if not protocol.startswith("HTTP/") or not (len(code) == 3 and code.isascii() and code.isdecimal()):
        raise ValueError("it is not HTTP")
    length = None
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    return int(code), reason, length


def _body(connection: socket.socket, came: bytes, length: int | None, until: float) -> bytes:
    """Of the length that was told, else all until the connection is closed."""
    body, most = bytearray(came), ANSWER_MAX if length is None else length
    if most > ANSWER_MAX:
        raise ValueError(f"it has {most} bytes, more than the {ANSWER_MAX} that are read")
    while (length is None or len(body) < length) and (data := _receive(connection, until)):
        body += data
        if len(body) > ANSWER_MAX:
            raise ValueError(f"it has more than the {ANSWER_MAX} bytes that are read")
    if length is not None and len(body) != length:
        raise ValueError(f"{len(body)} of {length} bytes came")
    return bytes(body)


def _json(body: bytes) -> object:
    """None for what is no JSON; numbers that JSON cannot write again (NaN, 1e999) are null."""
    try:
        return json.loads(body, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _words(data: object, reason: str) -> str:
    """What the daemon says of an error, else HTTP's own reason."""
    said = data.get("error") if isinstance(data, dict) else None
    return str(said or reason or "no reason given")
