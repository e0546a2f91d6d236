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
    """Host names under which the pages may be asked for, beside "localhost" and addresses such as 127.0.0.1: every
    other Host header is refused, so that no web page in somebody's browser can read them (DNS rebinding). Name here
    what a proxy or a DNS name of this host sends; without a port."""
    show_identities: bool = False
    """Show rooms and participants' identities on the pages even where `listen` is not a loopback address."""
    max_connections: int = Field(default=128, ge=1, le=10_000)
    """Connections at one time to the pages; the control socket has the same bound for itself."""

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port, or None when nothing is served."""
        return split_address(self.listen)
