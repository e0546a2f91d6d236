"""The numbers the supervisor decides by; the pure core takes these models whole.

All durations are seconds, all memory is MiB (2**20 bytes) of the worker's whole process tree.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """What every section of the settings has in common: frozen, and no unknown key."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, validate_default=True
    )


class Limits(Section):
    """When a worker counts as unhealthy."""

    max_errors: int = Field(10, ge=1)
    """More errors than this within `error_window` and the worker is replaced (the guide's number)."""
    error_window: float = Field(300.0, gt=0)
    """How far back errors count."""
    inactivity: float = Field(300.0, gt=0)
    """A call without activity of either side for this long makes its worker inactive (the guide: 5 minutes)."""
    check_interval: float = Field(1.0, ge=0.05, le=30)
    """How often the rules are checked and processes sampled (the guide's upper bound is 30 s)."""
    beat_interval: float = Field(1.0, ge=0.05, le=30)
    """How often a worker sends a heartbeat."""
    suspect_after: float = Field(3.0, gt=0)
    """No heartbeat from the worker's loop for this long: it is suspect."""
    hung_after: float = Field(10.0, gt=0)
    """No heartbeat for this long: it is hung, and is replaced. LiveKit gives up on its job processes after 70 s."""
    beats_rejected_max: int = Field(20, ge=1)
    """This many unreadable heartbeats in a row and the worker counts as broken."""
    memory_soft_mb: float | Literal["auto"] = Field("auto")
    """Above this the worker is drained behind a replacement. "auto": three quarters of `memory_hard_mb`."""
    memory_hard_mb: float | Literal["auto"] = Field("auto")
    """Above this the worker is killed. "auto": an equal share of four fifths of the host's memory."""
    leak_horizon: float = Field(3600.0, ge=0)
    """A worker whose memory will meet the soft limit within this time, at its present slope, leaks; 0 is off."""
    cpu_percent: float = Field(80.0, ge=0)
    """CPU of the tree, in percent of one core. A worker with no call that stays above it is replaced; 0 is off."""
    cpu_window: float = Field(60.0, gt=0)
    """How long the CPU must stay above `cpu_percent`."""
    max_age: float = Field(0.0, ge=0)
    """A worker older than this is replaced, give or take a tenth drawn once per worker; 0 is off."""
    max_jobs: int = Field(0, ge=0)
    """A worker that has started this many jobs is replaced; 0 is off."""
    register_timeout: float = Field(90.0, gt=0)
    """A worker that is not registered for this long, while LiveKit answers its siblings, is replaced."""


class Restart(Section):
    """How soon a failed worker's slot is filled again."""

    backoff_base: float = Field(0.5, gt=0)
    """The wait after the second failure in a row; it doubles with each further one. The first is answered at once."""
    backoff_max: float = Field(60.0, gt=0)
    """The longest wait between two attempts."""
    healthy_after: float = Field(30.0, gt=0)
    """A worker that was ready for this long clears its slot's failures."""
    park_after: int = Field(5, ge=1)
    """So many failures within `park_window` and the slot is parked: retried at growing intervals only."""
    park_window: float = Field(600.0, gt=0)
    """How far back failures count for parking; also the longest interval between the retries of a parked slot."""
    park_retry: float = Field(60.0, gt=0)
    """The first interval between the retries of a parked slot; it doubles up to `park_window`."""


class Pool(Section):
    """Which workers there are, and how many."""

    workers: int = Field(4, ge=1, le=1024)
    """How many workers are kept ready."""
    agent: str = Field("mindbot_worker.voice:server")
    """MODULE:ATTR of the `livekit.agents.AgentServer` that every worker runs."""
    command: str = Field("")
    """Run this program in each slot instead of an agent (split as a shell would, run without one)."""
    agent_name: str = Field("")
    """Name under which the agents register for explicit dispatch; empty: LiveKit dispatches them to every room."""
    max_calls: int = Field(10, ge=1)
    """Calls that one worker takes at a time."""
    drain_timeout: float = Field(3600.0, ge=0)
    """How long a draining worker may go on with its calls (LiveKit's own default is an hour)."""
    start_timeout: float = Field(60.0, gt=0)
    """A worker from which nothing was heard for this long after its start has failed to start."""
    max_unavailable: int = Field(1, ge=1)
    """So many workers at most leave service by our own choice at one time."""
    max_draining: int | Literal["auto"] = Field("auto")
    """So many draining workers at most exist beside the pool. "auto": as many as `workers`."""
    max_starting: int | Literal["auto"] = Field("auto")
    """So many workers at most start at one time when the pool is filled. "auto": one for each core."""
