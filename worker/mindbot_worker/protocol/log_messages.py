"""The events that a worker and its job processes may log under their own name; the rest is the supervisor's to tell.

Little but the standard library, like `wire`. The supervisor writes any other record of a worker as `worker.log`.
"""

from __future__ import annotations

import re

WORKER_LOG = "worker.log"
"""The event of a record that names none: something LiveKit, a library or the user's agent logged."""

EVENTS = frozenset(
    {
        "agent.error",
        "agent.speech",
        "agent.state",
        "agent.turn",
        "audio.quality",
        "call.continued",
        "call.not_handed_over",
        "call.unkept",
        "deepgram.waited",
        "job.connect_retried",
        "job.ended",
        "job.error",
        "job.handed_over",
        "job.refused",
        "job.skipped",
        "job.started",
        "journal.ignored",
        "limit.alone",
        "log.dropped",
        "memory.usage",
        "openai.waited",
        "performance.slow",
        "performance.summary",
        "provider.fallback",
        "provider.rate_limited",
        "provider.recovered",
        "room.disconnected",
        "room.reconnected",
        "room.reconnecting",
        "serving.draining",
        "serving.ended",
        "serving.ready",
        "serving.unregistered",
        "serving.version",
        "stt.deaf",
        "stt.recovered",
        "transcript.interim",
        "user.speech",
        "user.state",
        WORKER_LOG,
    }
)

NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
"""What an event's name looks like, as opposed to a sentence."""
