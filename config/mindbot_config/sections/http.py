"""[http]: the read-only web pages."""

from __future__ import annotations

from pydantic import Field

from mindbot_config.sections.base import HostName, ListenAddress, Section, split_address


class Http(Section):
    """The read-only web pages: /healthz, /readyz, /metrics, /status and the dashboard."""

    listen: ListenAddress = "127.0.0.1:8090"
    """HOST:PORT to listen on; port 0 takes any free one, "off" serves none. There is no password: to show the pages
    to other hosts, put a proxy with one before it."""
    allowed_hosts: tuple[HostName, ...] = ()
    """Names by which the pages may be asked for, such as "pool.example.org"; addresses and localhost always may. Any
    other name is refused, so that no web page can read them through a name of its own (DNS rebinding)."""
    show_identities: bool = False
    """Show rooms, participants and phone numbers to other hosts too, where `listen` lets them in."""
    max_connections: int = Field(default=128, ge=4, le=4096)
    """Connections at one time, to the pages and to the control socket each. One more takes the place of the one that
    has been idle for longest; where none is idle it is refused."""
    idle_timeout: float = Field(default=30.0, ge=1, le=3600)
    """Seconds after which a connection without a request is closed. A request must have come whole within 10 s, and an
    answer be read at 6 KiB a second at least."""

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port, or None when nothing is served."""
        return split_address(self.listen)
