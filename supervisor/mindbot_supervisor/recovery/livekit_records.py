"""What recovery needs of LiveKit's answers, as plain values: participants, dispatches and their jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

AGENT, ACTIVE, DISCONNECTED = "AGENT", "ACTIVE", "DISCONNECTED"
CALLERS = frozenset({"STANDARD", "SIP", "CONNECTOR"})
"""Kinds of participants that an agent talks to (DEFAULT_PARTICIPANT_KINDS in livekit/agents/job.py); recorders and
streams are none."""
WHOLE_ROOM = "JT_ROOM"
ENDED = frozenset({"JS_SUCCESS", "JS_FAILED", "JS_CANCELLED"})
"""States of a job that is over."""


@dataclass(frozen=True, slots=True)
class Participant:
    sid: str
    identity: str
    kind: str
    state: str

    @property
    def is_caller(self) -> bool:
        return self.kind in CALLERS and self.state != DISCONNECTED

    @property
    def is_active_agent(self) -> bool:
        return self.kind == AGENT and self.state == ACTIVE


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    type: str
    identity: str
    worker_id: str = ""
    status: str = ""

    @property
    def is_running(self) -> bool:
        return self.status not in ENDED


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What the server was asked to send into a room, and the jobs that came of it."""

    id: str
    agent_name: str = ""
    metadata: str = field(default="", repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    deployment: str = ""
    jobs: tuple[Job, ...] = ()
