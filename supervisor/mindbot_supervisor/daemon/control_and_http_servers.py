"""Serves the control socket and the pages, from the first request to the daemon's end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mindbot_config.output.redaction import Redactor
from mindbot_config.sections.http import Http
from mindbot_supervisor.control.page_access import PageAccess
from mindbot_supervisor.control.request_fields import Command
from mindbot_supervisor.control.server import Pages, Server, control_app, http_app
from mindbot_supervisor.core import log_events
from mindbot_supervisor.daemon.runtime_files.listening_sockets import Sockets

EXPOSED = "other hosts can read these pages: there is no password; put a proxy with one before them"


class Servers:
    """The two servers. `note` writes to the log; `redactor` gives the redactor in force, which every answer passes."""

    def __init__(
        self, bound: Sockets, settings: Http, note: Callable[..., None], redactor: Callable[[], Redactor]
    ) -> None:
        self._bound, self._settings, self._note, self._redactor = bound, settings, note, redactor
        self._access = PageAccess(bound.http_is_local)
        self._control: Server | None = None
        self._servers: list[Server] = []

    async def start(self, pages: Pages, commands: Mapping[str, Command], questions: Mapping[str, Command]) -> None:
        """Start both servers. Clients that connected before have waited in the sockets."""
        bound = self._bound
        self._access.follow(self._settings)
        app = control_app(pages, self._redactor, commands, questions)
        self._control = Server(app, bound.control.socket, bound.spare)
        self._servers.append(self._control)
        if bound.http is not None:
            self._servers.append(Server(http_app(pages, self._redactor, self._access), bound.http))
            self._tell_address()
        elif bound.http_problem:
            self._note(log_events.HTTP_UNAVAILABLE, "warning", detail=bound.http_problem)
        for server in self._servers:
            await server.start(self._settings.max_connections, self._settings.idle_timeout)
        bound.directory.instance.serve()

    def follow(self, settings: Http) -> None:
        """Put new settings in force; the address stays as it is."""
        self._settings = settings
        self._access.follow(settings)
        for server in self._servers:
            server.bound(settings.max_connections, settings.idle_timeout)

    def restore(self, _: float) -> list[str]:
        """Listen anew where the control socket's name is gone; the names of what was made.

        Raises SupervisorError where that cannot be done.
        """
        self._bound.spare.refill()
        before = self._bound.control
        if not self._bound.restore_control():
            return []
        if self._control is not None:
            self._control.listen_on(self._bound.control.socket)
        before.socket.close()
        return [str(before.path)]

    async def close(self) -> None:
        for server in self._servers:
            await server.close()

    def _tell_address(self) -> None:
        assert self._bound.http is not None
        host, port = self._bound.http.getsockname()[:2]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._note(log_events.HTTP_LISTENING, address=address)
        if not self._access.local:
            shown = "rooms and participants are shown" if self._access.identities else "identities are hidden"
            self._note(log_events.HTTP_EXPOSED, "warning", address=address, detail=f"{EXPOSED}; {shown}")
