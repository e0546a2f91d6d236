"""Allows one daemon for each runtime directory: a second one finds the first by a name that no sweep can remove.

The name is an abstract Unix socket (unix(7)), held for as long as the daemon lives, over upgrades too. It is made of
the user, the folder that the runtime directory is in (device and inode) and the directory's own name, so that
containers that share a network, and with it all abstract names, do not take each other's daemon for their own.

Containers with networks of their own that share a runtime directory see only the lock file in it. Anybody may take an
abstract name: a holder that is another user's is no daemon of ours, and is not heeded.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import time
from pathlib import Path

from mindbot_supervisor.control.connection_limits import Acceptor
from mindbot_supervisor.control.unix_and_tcp_sockets import BACKLOG, Place, peer
from mindbot_supervisor.errors import Refused

NAMES_MAX = 4
"""Names held at one time; the folder would have to be made anew so often."""
PATIENCE = 1.0
"""Seconds for which a holder that takes no connection is asked again."""


def address_of(runtime_dir: Path, uid: int) -> str | None:
    """The abstract address for this directory; None while the folder it is in is not there."""
    try:
        folder = runtime_dir.parent.stat()
    except OSError:
        return None
    where: Place = folder.st_dev, folder.st_ino
    digest = hashlib.sha256(f"{where}/{runtime_dir.name}".encode(errors="surrogateescape")).hexdigest()[:32]
    return f"\0mindbot-supervisor/{uid}/{digest}"


class SingleInstance:
    """The names that this daemon holds: one, and a further one whenever the folder has been made anew."""

    def __init__(self, runtime_dir: Path, held: list[int] | None = None) -> None:
        """`held` are descriptors of names that the version before held."""
        self._runtime_dir = runtime_dir
        self._held = {_name(each): each for each in (socket.socket(fileno=fd) for fd in held or ())}
        self._acceptors: dict[str, Acceptor] = {}
        self._serving = False

    @property
    def fds(self) -> list[int]:
        return [each.fileno() for each in self._held.values()]

    def hold_name(self, patience: float = 0.0) -> None:
        """Hold the name that belongs to the directory now. Raises Refused where another daemon of ours has it."""
        address = address_of(self._runtime_dir, os.geteuid())
        if address is None or address in self._held:
            return
        claimed = self._claim(address, patience)
        if claimed is None:
            return
        self._held[address] = claimed
        if self._serving:
            self._serve(address)
        while len(self._held) > NAMES_MAX:
            self._drop(next(iter(self._held)))

    def serve(self) -> None:
        """Take the connections of those who ask who is here: needs a running loop."""
        self._serving = True
        for address in self._held:
            self._serve(address)

    def close(self) -> None:
        for address in list(self._held):
            self._drop(address)

    def _serve(self, address: str) -> None:
        self._acceptors[address] = Acceptor(self._held[address], socket.socket.close)

    def _drop(self, address: str) -> None:
        if acceptor := self._acceptors.pop(address, None):
            acceptor.stop()
        self._held.pop(address).close()

    def _claim(self, address: str, patience: float) -> socket.socket | None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(address)
        except OSError as exc:
            listener.close()
            if exc.errno == errno.EADDRINUSE and (pid := _holder(address, patience)) is not None:
                where = f"{self._runtime_dir} (pid {pid or 'unknown'})"
                raise Refused(
                    f"a daemon is already running in {where}; stop it first, or use another --socket"
                ) from exc
            return None
        listener.listen(BACKLOG)
        return listener


def _name(listener: socket.socket) -> str:
    return os.fsdecode(listener.getsockname())


def _holder(address: str, patience: float) -> int | None:
    """Pid of a process of our own user that holds this name (0 where its pid is not known here), else None."""
    until = time.monotonic() + patience
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(address)
            except ConnectionRefusedError:  # it has just ended
                return None
            except OSError:
                if time.monotonic() < until:
                    time.sleep(0.05)
                    continue
                return _holder_by_table(address)
            pid, uid = peer(probe)
            return pid if uid == os.geteuid() else None


def _holder_by_table(address: str) -> int | None:
    """The same for a holder that takes no connections: it is stopped, or somebody has filled its queue."""
    import psutil

    shown = "@" + address[1:]
    for found in psutil.net_connections("unix"):
        if str(found.laddr) == shown and found.pid is not None:
            with contextlib.suppress(psutil.Error):
                if psutil.Process(found.pid).uids().effective == os.geteuid():
                    return int(found.pid)
    return None
