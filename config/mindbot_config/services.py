"""What the supervisor shows to the outside: its log, its web pages, its notices."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mindbot_config.fields import HostName, ListenAddress, OptionalPath, OptionalUrl, split_address
from mindbot_config.limits import Section


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]

Event = Literal[
    "supervisor.started",
    "supervisor.ready",
    "supervisor.reloaded",
    "supervisor.upgraded",
    "supervisor.stopping",
    "supervisor.stopped",
    "worker.spawned",
    "worker.ready",
    "worker.unready",
    "worker.suspect",
    "worker.stack",
    "worker.oom",
    "worker.draining",
    "worker.killing",
    "worker.exited",
    "slot.backoff",
    "slot.parked",
    "slot.retried",
    "pool.held",
    "pool.released",
    "call.started",
    "call.ended",
    "call.lost",
    "call.recovering",
    "call.recovered",
    "call.migrated",
    "call.quarantined",
    "limit.warned",
    "beat.rejected",
    "config.rejected",
    "env.changed",
    "agent.error",
]
"""The lifecycle events of the public contract."""


class Log(Section):
    """What is written to the log, and where."""

    level: Level = "info"
    """The least important records that are written. "debug" adds what helps to find a fault."""
    format: Literal["json", "console"] = "json"
    """"json": one object a line, for machines. "console": coloured lines, for people."""
    file: OptionalPath = None
    """Write the log to this file too; empty: to standard output only."""
    log_transcripts: bool = False
    """Write what callers and agents say. Off by default: it is personal data."""


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


class Notify(Section):
    """Notices to people: a POST with the event as JSON, retried, and never twice within a minute for the same reason.

    With MINDBOT_WEBHOOK_SECRET in the environment they are signed: X-Mindbot-Signature is "sha256=" and the HMAC of the
    body, X-Mindbot-Timestamp the body's `sent`.
    """

    webhook_url: OptionalUrl = Field(default="", repr=False)
    """Where notices are sent; empty: nowhere. It often holds a token, so it is never logged beyond its host."""
    events: tuple[Event, ...] = (
        "supervisor.started",
        "supervisor.stopped",
        "worker.killing",
        "slot.parked",
        "pool.held",
        "pool.released",
        "call.lost",
        "call.quarantined",
        "config.rejected",
        "agent.error",
    )
    """The events that are sent. Default: what somebody may have to act on."""
