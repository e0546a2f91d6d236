"""[notify]: notices to people, and the events that they can be about."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mindbot_config.sections.base import OptionalUrl, Section

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
    "host.shortage",
    "host.shortage_over",
    "call.started",
    "call.ended",
    "call.lost",
    "call.stalled",
    "call.resumed",
    "call.hung",
    "call.recovering",
    "call.recovered",
    "call.migrated",
    "call.quarantined",
    "host.stalled",
    "limit.warned",
    "beat.rejected",
    "config.rejected",
    "env.changed",
    "agent.error",
]
"""The lifecycle events of the public contract."""


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
        "host.shortage",
        "host.shortage_over",
        "call.lost",
        "call.hung",
        "call.quarantined",
        "config.rejected",
        "agent.error",
    )
    """The events that are sent. Default: what somebody may have to act on."""
