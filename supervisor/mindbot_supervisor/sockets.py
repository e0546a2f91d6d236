"""The daemon's lock and its listening sockets: new ones, or those of the version before."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from mindbot_config.load import Loaded
from mindbot_config.paths import Paths

from . import directory
from .errors import Refused
from .handover import State
from .ops.binding import bind_tcp, bind_unix


@dataclass(frozen=True, slots=True)
class Sockets:
    """`http` is None where no page is wanted, or where `http_problem` says why there is none."""

    lock: int
    control: socket.socket
    http: socket.socket | None
    http_problem: str = ""

    @property
    def http_fd(self) -> int | None:
        return self.http.fileno() if self.http is not None else None


def bind(paths: Paths, loaded: Loaded) -> Sockets:
    """Raises Refused where another daemon is in the same place."""
    lock = directory.claim(paths.runtime_dir)
    control = bind_unix(paths.socket)
    return Sockets(lock, control, *_bind_http(loaded))


def take_over(state: State) -> Sockets:
    http = socket.socket(fileno=state.http) if state.http is not None else None
    return Sockets(state.lock, socket.socket(fileno=state.control), http)


def _bind_http(loaded: Loaded) -> tuple[socket.socket | None, str]:
    """A taken port refuses the start only where the operator chose it: calls matter more than a page."""
    address = loaded.settings.http.address
    if address is None:
        return None, ""
    try:
        return bind_tcp(*address), ""
    except Refused as exc:
        if loaded.sources["http.listen"] != "default":
            raise
        return None, str(exc)
