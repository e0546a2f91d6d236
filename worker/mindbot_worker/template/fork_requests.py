"""Serves the supervisor's requests: forks a worker for each, and tells which source files have changed."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from typing import Any

from mindbot_config.host.descriptors import Descriptor, close_all
from mindbot_worker.protocol import template_messages as wire
from mindbot_worker.template.imported_code import SourceFiles


@dataclass(frozen=True, slots=True)
class ForkedWorker:
    """The name, environment and descriptors of a newly forked worker. It owns the descriptors."""

    worker: str
    environ: dict[str, str]
    heartbeat: Descriptor
    leash: Descriptor
    output: Descriptor


def serve(sock: socket.socket, sources: SourceFiles) -> ForkedWorker | None:
    """Serve requests until the supervisor is gone, and return None. In a forked process, return what it is to be."""
    while (received := _receive(sock)) is not None:
        message, descriptors = received
        forked = None
        if message.get("say") == wire.CHANGED:
            say(sock, {"say": wire.CHANGED, "files": sources.changed()[:20]})
        elif message.get("say") == wire.FORK:
            forked = _fork(sock, message, descriptors)
        if forked is not None:
            return forked
        close_all(*descriptors)
    return None


def _receive(sock: socket.socket) -> tuple[dict[str, Any], list[Descriptor]] | None:
    try:
        return wire.receive(sock)
    except OSError:
        return None


def say(sock: socket.socket, message: wire.Message) -> None:
    try:
        wire.send(sock, message)
    except OSError:
        return  # the supervisor is gone; whoever listens to it next will notice


def _fork(sock: socket.socket, message: wire.Message, descriptors: list[Descriptor]) -> ForkedWorker | None:
    """Fork a worker and answer the request. In the new process, return what it is to be."""
    worker = str(message.get("worker"))
    try:
        if len(descriptors) != wire.DESCRIPTORS:  # the kernel leaves out those for which there is no room here
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        pid = _fork_twice()
    except OSError as exc:
        say(sock, {"say": wire.NOT_FORKED, "worker": worker, "why": exc.strerror, "errno": exc.errno})
        return None
    if pid == 0:
        return ForkedWorker(worker, dict(message["environ"]), *descriptors)
    say(sock, {"say": wire.FORKED, "worker": worker, "pid": pid})
    return None


def _fork_twice() -> int:
    """The pid of a new process, 0 in that process itself. Raises OSError where none can be started.

    The process in between ends at once, so that the new one becomes the supervisor's own child.
    """
    reading, writing = os.pipe()
    with Descriptor(reading) as reader, Descriptor(writing) as writer:
        middle = os.fork()
        if middle == 0:
            return _in_between(writer)
        writer.close()
        told = int(reader.read(16) or -errno.ECHILD)
        os.waitpid(middle, 0)
    if told < 0:
        raise OSError(-told, os.strerror(-told))
    return told


def _in_between(writer: Descriptor) -> int:
    try:
        worker = os.fork()
    except OSError as exc:
        worker = -(exc.errno or errno.EAGAIN)
    if worker:
        writer.write(str(worker).encode())
        os._exit(0)
    return 0
