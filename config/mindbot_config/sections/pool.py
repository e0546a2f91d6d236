"""[pool]: which workers there are, and how many."""

from __future__ import annotations

import shlex
from typing import Literal

from pydantic import Field, field_validator

from mindbot_config.sections.base import AutoCount, Section


class Pool(Section):
    """Which workers there are, and how many."""

    workers: int = Field(default=4, ge=1, le=1024)
    """How many workers are kept ready. One for each core is plenty; a worker takes many calls at a time."""
    agent: str = "mindbot_worker.mindbot:server"
    """MODULE:ATTR of the `livekit.agents.AgentServer` that every worker runs. Default: MindBot."""
    command: str = ""
    """Run this program in each slot instead of an agent (split as a shell would, but run without one)."""
    launcher: Literal["template", "exec"] = "template"
    """How workers of an agent are started. "template": one process imports the agent once and every worker is forked
    from it, in a fraction of the time and memory. "exec": each worker is a Python of its own. An agent whose import
    starts threads or an event loop cannot be forked and is started by exec; the log says so."""
    agent_name: str = ""
    """Name under which the agents register for explicit dispatch; empty: LiveKit dispatches them to every room."""
    max_calls: int = Field(default=10, ge=1)
    """Calls that one worker takes at a time; a worker at its limit tells LiveKit that it is full."""
    drain_timeout: float = Field(default=3600.0, ge=0)
    """Seconds for which a draining worker may go on with its calls (3600: LiveKit's own default)."""
    stop_timeout: float = Field(default=30.0, gt=0)
    """Seconds that a worker without calls has to end, once it was asked to; then it is killed."""
    gone_room_timeout: float = Field(default=60.0, gt=0)
    """Seconds that a job has to end once its room is gone for good; then its process is ended, and the call with it."""
    start_timeout: float = Field(default=60.0, gt=0)
    """A worker from which nothing was heard for so many seconds after its start has failed to start."""
    max_unavailable: int = Field(default=1, ge=1)
    """So many workers at most leave service by our own choice at one time. More makes a roll of all workers faster."""
    max_draining: AutoCount = "auto"
    """So many draining workers at most exist beside the pool, which bounds the memory of a roll.
    "auto": as many as `workers`."""
    max_starting: AutoCount = "auto"
    """So many workers at most start at one time when the pool is filled. "auto": one for each CPU that the affinity and
    the quota of the own cgroups allow."""

    @field_validator("agent")
    @classmethod
    def _names_an_attribute(cls, value: str) -> str:
        module, _, attribute = value.partition(":")
        if not all(part.isidentifier() for name in (module, attribute) for part in name.split(".")):
            raise ValueError("must be MODULE:ATTR, such as mindbot_worker.mindbot:server")
        return value

    @field_validator("command")
    @classmethod
    def _can_be_split(cls, value: str) -> str:
        try:
            words = shlex.split(value)
        except ValueError as problem:
            raise ValueError(f"must be a command line as a shell reads it ({str(problem).lower()})") from None
        if value and not (words and words[0]):
            raise ValueError("must name a program, or be empty")
        return value
