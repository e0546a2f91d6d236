"""The daemon's runtime directory and its listening sockets: new ones, or those of the version before."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field

from mindbot_config.files.paths import Paths
from mindbot_config.load import Loaded
from mindbot_supervisor.control.connection_limits import SpareDescriptors
from mindbot_supervisor.control.unix_and_tcp_sockets import UnixListener, bind_tcp, listen, place_of
from mindbot_supervisor.daemon.runtime_files.runtime_directory import RuntimeDirectory
from mindbot_supervisor.errors import Refused
from mindbot_supervisor.upgrade.state_file import State


@dataclass(slots=True)
class Sockets:
    """The listening sockets. `http` is None where no page is wanted, or where `http_problem` says why there is none."""

    directory: RuntimeDirectory
    control: UnixListener
    http: socket.socket | None
    http_problem: str = ""
    spare: SpareDescriptors = field(default_factory=SpareDescriptors)
    """For the control socket, from the first moment on."""

    @property
    def http_fd(self) -> int | None:
        return self.http.fileno() if self.http is not None else None

    @property
    def http_is_local(self) -> bool:
        """Whether only processes of this host can reach the pages."""
        if self.http is None:
            return True
        return ipaddress.ip_address(self.http.getsockname()[0].partition("%")[0]).is_loopback

    def restore_control(self) -> bool:
        """Listen anew where clients no longer find the socket by its path; whether that was so.

        Raises Refused or BadConfig where the path is taken.
        """
        if self.control.in_place:
            return False
        self.control = listen(self.control.path)
        return True

    def close(self) -> None:
        self.spare.close()
        self.control.remove()
        self.control.socket.close()
        if self.http is not None:
            self.http.close()
        self.directory.close()


def bind(paths: Paths, loaded: Loaded) -> Sockets:
    """Claim the directory and listen. Raises Refused where another daemon is there, BadConfig where something else
    is.
    """
    directory = RuntimeDirectory.claim(paths.runtime_dir)
    return Sockets(directory, listen(paths.socket), *_bind_http(loaded))


def take_over(paths: Paths, state: State) -> Sockets:
    directory = RuntimeDirectory.resume(paths.runtime_dir, state.lock, state.names)
    place = state.control_place or place_of(paths.socket)
    control = UnixListener(paths.socket, socket.socket(fileno=state.control), place)
    http = socket.socket(fileno=state.http) if state.http is not None else None
    return Sockets(directory, control, http)


def _bind_http(loaded: Loaded) -> tuple[socket.socket | None, str]:
    """Listen for HTTP. A port in use refuses the start only where the operator chose it: calls matter more than
    pages.
    """
    address = loaded.settings.http.address
    if address is None:
        return None, ""
    try:
        return bind_tcp(*address), ""
    except Refused as exc:
        if loaded.sources["http.listen"] != "default":
            raise
        return None, str(exc)
