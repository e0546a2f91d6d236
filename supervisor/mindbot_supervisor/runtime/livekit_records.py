"""What LiveKit's server API answers: participants, dispatches and their jobs, read from JSON that may lack anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

AGENT, ACTIVE, DISCONNECTED = "AGENT", "ACTIVE", "DISCONNECTED"
CALLERS = frozenset({"STANDARD", "SIP", "CONNECTOR"})
"""Kinds of participants that an agent talks to (DEFAULT_PARTICIPANT_KINDS in livekit/agents/job.py); recorders and
streams are none."""
_KINDS = ("STANDARD", "INGRESS", "EGRESS", "SIP", AGENT)
_STATES = ("JOINING", "JOINED", ACTIVE, DISCONNECTED)


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


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What the server was asked to send into a room, and the jobs that came of it."""

    id: str
    agent_name: str = ""
    metadata: str = field(default="", repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    deployment: str = ""
    jobs: tuple[Job, ...] = ()


def participant(fields: Mapping[str, Any]) -> Participant:
    return Participant(
        str(fields.get("sid", "")),
        str(fields.get("identity", "")),
        _named(fields.get("kind"), _KINDS),
        _named(fields.get("state"), _STATES),
    )


def dispatch(fields: Mapping[str, Any]) -> Dispatch:
    state = fields.get("state")
    jobs = objects(state, "jobs") if isinstance(state, dict) else []
    attributes = fields.get("attributes")
    return Dispatch(
        id=str(fields.get("id", "")),
        agent_name=str(_either(fields, "agent_name", "agentName")),
        metadata=str(fields.get("metadata", "")),
        attributes={str(k): str(v) for k, v in attributes.items()} if isinstance(attributes, dict) else {},
        deployment=str(fields.get("deployment", "")),
        jobs=tuple(_job(each) for each in jobs),
    )


def _job(fields: Mapping[str, Any]) -> Job:
    state = fields.get("state")
    identity = _either(state, "participant_identity", "participantIdentity") if isinstance(state, dict) else ""
    return Job(str(fields.get("id", "")), _named(fields.get("type"), ("JT_ROOM",)), str(identity))


def objects(answer: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = _either(answer, key, "agentDispatches" if key == "agent_dispatches" else key) or []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _either(fields: Mapping[str, Any], name: str, camel: str) -> Any:
    """Twirp servers write names in either way."""
    return fields.get(name, fields.get(camel, ""))


def _named(value: object, names: tuple[str, ...]) -> str:
    """An enum value by its name; left out it is the first, and it may be written as a number."""
    if value is None:
        return names[0]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else str(value)
