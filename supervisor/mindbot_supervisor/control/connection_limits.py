"""Takes connections from listening sockets, within bounds: no client may use up the daemon's descriptors.

Pages and other auxiliary services never get the last descriptors; the control socket has some kept aside for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
from collections.abc import Callable

RESERVED = 32
"""Descriptors that auxiliary services leave free for children and for the control socket; at most a quarter of all."""
SPARE = 8
"""Descriptors held open for the control socket: it still answers when none is left."""
AT_ONCE = 16
"""Connections taken before the event loop has its turn again."""
REST = 0.25
"""Seconds without taking connections, when there is no descriptor for them."""
_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def is_reserved(fd: int) -> bool:
    """Whether an auxiliary service must give this descriptor back.

    The kernel hands out the lowest free number: a high one says that nearly all are in use.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit != resource.RLIM_INFINITY and fd >= limit - min(RESERVED, limit // 4)


class SpareDescriptors:
    """Descriptors kept aside, to be given up one by one when there is no other."""

    def __init__(self, count: int = SPARE) -> None:
        self._count = count
        self._held: list[int] = []
        self.refill()

    def refill(self) -> None:
        """Take back what can be had."""
        with contextlib.suppress(OSError):
            while len(self._held) < self._count:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def give_up_one(self) -> bool:
        """False when there is none left."""
        if not self._held:
            return False
        os.close(self._held.pop())
        return True

    def close(self) -> None:
        while self.give_up_one():
            pass
        self._count = 0


class Acceptor:
    """Hands each new connection of a listening socket to `take`, a few at a time. The listener stays its owner's."""

    def __init__(
        self, listener: socket.socket, take: Callable[[socket.socket], None], spare: SpareDescriptors | None = None
    ) -> None:
        self._listener, self._take, self._spare = listener, take, spare
        self._loop = asyncio.get_running_loop()
        self._resting: asyncio.TimerHandle | None = None
        self._stopped = False
        listener.setblocking(False)
        self._watch()

    def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        if self._resting is not None:
            self._resting.cancel()
        else:
            self._loop.remove_reader(self._listener.fileno())

    def _watch(self) -> None:
        self._resting = None
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except OSError as exc:
                if exc.errno not in _SHORTAGE:  # nobody is there any more
                    return
                if self._spare is None or not self._spare.give_up_one():
                    self._rest()
                    return
                continue
            connection.setblocking(False)
            self._take(connection)
            if self._stopped:
                return

    def _rest(self) -> None:
        """The socket stays readable: without a pause the loop would spin."""
        self._loop.remove_reader(self._listener.fileno())
        self._resting = self._loop.call_later(REST, self._watch)
