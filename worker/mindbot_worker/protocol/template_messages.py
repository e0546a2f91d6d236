"""Messages between the supervisor and the template: JSON objects on a SOCK_SEQPACKET socket.

With a request to fork travel three descriptors, in this order: the write end of the
heartbeat pipe, the read end of the leash pipe, and the write end of the worker's output.
"""

from __future__ import annotations

import array
import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from mindbot_config.host.descriptors import Descriptor, close_all
from mindbot_config.output import strict_json

SOCKET_FD = "MINDBOT_TEMPLATE_FD"
"""Environment variable with the template's end of the socket."""

MESSAGE_MAX = 64 * 1024
DESCRIPTORS = 3

READY = "ready"
"""The image is complete: {"say", "seconds", "jobserver": pid or null}."""
UNSAFE = "unsafe"
"""The image must not be forked: {"say", "why"}."""
FAILED = "failed"
"""The agent cannot be imported: {"say", "why", "code"}."""
FORK = "fork"
"""Asks for a worker: {"say", "worker", "environ"}."""
FORKED = "forked"
"""{"say", "worker", "pid"}; the supervisor is its parent by now."""
NOT_FORKED = "not_forked"
"""{"say", "worker", "why", "errno"}."""
CHANGED = "changed"
"""Asks, with {"say"}, whether the code on disk has changed; the answer has "files", a list of paths."""

Message = Mapping[str, Any]


def send(sock: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Raises OSError; a message is sent whole or not at all."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([strict_json.dump_bytes(message, compact=True)], ancillary)


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[Descriptor]] | None:
    """The next message with its descriptors (close-on-exec), or None at the end. Raises OSError.

    A message that is no JSON object comes as an empty one.
    """
    data, ancillary, _, _ = sock.recvmsg(
        MESSAGE_MAX, socket.CMSG_SPACE(DESCRIPTORS * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
    )
    fds = array.array("i")
    for level, kind, block in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(block[: len(block) - len(block) % fds.itemsize])
    descriptors = [Descriptor(fd) for fd in fds]
    if not data:
        close_all(*descriptors)
        return None
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        message = {}
    return message if isinstance(message, dict) else {}, descriptors
