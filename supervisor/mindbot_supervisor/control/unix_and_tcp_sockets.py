"""Listening sockets: Unix sockets at a path, bound without deleting what is somebody else's, and the TCP socket of the
read-only pages.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from mindbot_supervisor.errors import BadConfig, Refused

BACKLOG = 512
PROBE_TIMEOUT = 1.0
"""Seconds that a living daemon has to take a connection; its backlog is full if it does not."""

Place = tuple[int, int]
"""Device and inode of a file: what a name leads to."""

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISREG, "a regular file"),
)


def place_of(path: Path) -> Place | None:
    """What the name leads to now, links not followed; None where there is nothing."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@dataclass(frozen=True, slots=True)
class UnixListener:
    """A listening socket and the name under which clients find it."""

    path: Path
    socket: socket.socket
    place: Place | None

    @property
    def in_place(self) -> bool:
        """Whether clients that use the path still reach this socket."""
        return self.place is not None and place_of(self.path) == self.place

    def remove(self) -> None:
        """Remove the socket's file, unless another socket has this name by now."""
        if self.in_place:
            with contextlib.suppress(OSError):
                self.path.unlink()


def listen(path: Path) -> UnixListener:
    """A listening socket at `path`, from its first moment of mode 0600. Takes the place of a dead daemon's socket.

    Raises Refused where a daemon lives there, and BadConfig where anything else has this name or none can be made.
    """
    make_room(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # Linux gives the file the mode of the socket, less the umask
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise BadConfig(f"cannot listen at {path}: {exc.strerror or exc}") from exc
    return UnixListener(path, listener, place_of(path))


def make_room(path: Path) -> None:
    """Remove a socket that refuses connections and is our own. Raises Refused or BadConfig for whatever else is."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as exc:
        raise BadConfig(f"cannot listen at {path}: {exc.strerror}") from exc
    if not stat.S_ISSOCK(found.st_mode):
        what = next((words for is_kind, words in _KINDS if is_kind(found.st_mode)), "a device")
        raise BadConfig(f"cannot listen at {path}: {what} has this name; move it away, or use another --socket")
    if found.st_uid != os.geteuid():
        raise BadConfig(f"cannot listen at {path}: the socket there belongs to another user; use another --socket")
    if not _is_dead(path):
        raise Refused(f"a daemon is already running at {path}; stop it first, or use another --socket")
    if place_of(path) == (found.st_dev, found.st_ino):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _is_dead(path: Path) -> bool:
    """Whether nobody listens. A daemon that is too busy to take the connection lives."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_TIMEOUT)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except FileNotFoundError:
            return True
        except TimeoutError:
            return False
        except OSError as exc:
            if exc.errno == errno.EAGAIN:
                return False
            raise BadConfig(
                f"cannot listen at {path}: the socket there is not a daemon's ({exc.strerror}); use another --socket"
            ) from exc
    return False


def peer(connection: socket.socket) -> tuple[int, int]:
    """Pid and user at the other end of a Unix socket; for a listening one, of who began to listen."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return int(pid), int(uid)


TCP_BACKLOG = 128


def bind_tcp(host: str, port: int) -> socket.socket:
    """A listening socket for the read-only pages. Raises Refused with the address and what is wrong with it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(TCP_BACKLOG)
    except (OSError, UnicodeError) as exc:
        listener.close()
        raise Refused(f"cannot listen on {host}:{port} for HTTP: {getattr(exc, 'strerror', None) or exc}") from exc
    return listener
