"""Answers the supervisor: forks a worker for each request. In the new process it returns what makes it a worker."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

from mindbot_worker import wire_template as wire
from mindbot_worker.template.freshness import Sources


@dataclass(frozen=True, slots=True)
class Birth:
    """What a newly forked worker begins with. The descriptors are its own."""

    worker: str
    environ: dict[str, str]
    heartbeat: int
    leash: int
    output: int


def serve(sock: socket.socket, sources: Sources) -> Birth | None:
    """Until the supervisor is gone: then None. A forked child returns with its birth."""
    while (received := _receive(sock)) is not None:
        message, fds = received
        birth = None
        if message.get("say") == wire.CHANGED:
            say(sock, {"say": wire.CHANGED, "files": sources.changed()[:20]})
        elif message.get("say") == wire.FORK and len(fds) == wire.DESCRIPTORS:
            birth = _fork(sock, Birth(str(message["worker"]), dict(message["environ"]), *fds))
        if birth is not None:
            return birth
        for fd in fds:
            os.close(fd)
    return None


def _receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    try:
        return wire.receive(sock)
    except OSError:
        return None


def say(sock: socket.socket, message: wire.Message) -> None:
    try:
        wire.send(sock, message)
    except OSError:
        return  # the supervisor is gone; whoever listens to it next will notice


def _fork(sock: socket.socket, birth: Birth) -> Birth | None:
    """Fork twice: the process in between ends at once, so the worker becomes the supervisor's own child."""
    reader, writer = os.pipe()
    try:
        middle = os.fork()
    except OSError as exc:
        os.close(reader)
        os.close(writer)
        say(sock, {"say": wire.NOT_FORKED, "worker": birth.worker, "why": exc.strerror})
        return None
    if middle == 0:
        return _in_between(reader, writer, birth)
    os.close(writer)
    told = os.read(reader, 16)
    os.close(reader)
    os.waitpid(middle, 0)
    if told:
        say(sock, {"say": wire.FORKED, "worker": birth.worker, "pid": int(told)})
    else:
        say(sock, {"say": wire.NOT_FORKED, "worker": birth.worker, "why": "no second process"})
    return None


def _in_between(reader: int, writer: int, birth: Birth) -> Birth:
    try:
        worker = os.fork()
    except OSError:
        os._exit(1)
    if worker == 0:
        os.close(reader)
        os.close(writer)
        return birth
    os.write(writer, str(worker).encode())
    os._exit(0)
