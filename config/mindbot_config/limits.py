"""The numbers the supervisor decides by; the pure core takes these models whole.

All durations are seconds, all memory is MiB (2**20 bytes) of the worker's whole process tree.
"""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

AutoMegabytes = Annotated[float, Field(gt=0)] | Literal["auto"]
AutoCount = Annotated[int, Field(ge=1)] | Literal["auto"]


class Section(BaseModel):
    """What every section of the settings has in common: frozen, and no unknown key.

    The docstring below each field is its documentation; `docs.of` reads it, only where it is wanted, because
    pydantic's `use_attribute_docstrings` makes the import of the settings more than twice as slow.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*")
    @classmethod
    def _fits_an_environment_variable(cls, value: object) -> object:
        """Settings travel to the workers as environment variables, which cannot hold a NUL."""
        if "\0" in (value if isinstance(value, str | tuple) else ()):
            raise ValueError("must not contain a NUL character")
        return value


class Limits(Section):
    """When a worker counts as unhealthy."""

    max_errors: int = Field(default=10, ge=1)
    """More errors than this within `error_window` and the worker is drained and replaced (10: the guide's number).
    What a provider did never restarts anything: it is told once, and where most workers suffer from it the pool is
    held."""
    error_window: float = Field(default=300.0, gt=0)
    """Seconds for which an error counts."""
    inactivity: float = Field(default=300.0, gt=0)
    """A call without activity of either side for this many seconds makes its worker inactive (300: the guide's 5
    minutes). A worker without calls is healthy however long it waits. Raise it where callers are put on hold."""
    check_interval: float = Field(default=1.0, ge=0.05, le=30)
    """Seconds between two checks of the rules and samples of the processes (30: the guide's upper bound)."""
    beat_interval: float = Field(default=1.0, ge=0.05, le=30)
    """Seconds between two heartbeats of a worker."""
    suspect_after: float = Field(default=3.0, gt=0)
    """No heartbeat from the worker's loop for this many seconds and it is suspect: reported, but left alone.
    At least two beats long."""
    hung_after: float = Field(default=10.0, gt=0)
    """No heartbeat for this many seconds and the worker is hung: it is killed, replaced, and its calls recovered.
    Stay well below 70: LiveKit's job processes give up, calls and all, on a worker that is silent for so long."""
    beats_rejected_max: int = Field(default=20, ge=1)
    """So many unreadable heartbeats in a row and the worker counts as broken."""
    memory_soft_mb: AutoMegabytes = "auto"
    """MiB of the worker's process tree (PSS) above which it is drained behind a replacement.
    "auto": three quarters of `memory_hard_mb`."""
    memory_hard_mb: AutoMegabytes = "auto"
    """MiB of the process tree (PSS) above which the worker's calls are migrated and it is killed.
    "auto": an equal share of four fifths of the host's memory."""
    leak_horizon: float = Field(default=3600.0, ge=0)
    """A worker whose memory, at its present slope, will meet the soft limit within so many seconds leaks, and is
    drained early; 0 is off."""
    cpu_percent: float = Field(default=80.0, ge=0)
    """CPU of the process tree in percent of one core. A worker with no call that stays above it for `cpu_window` is
    replaced, one with calls is reported; 0 is off."""
    cpu_window: float = Field(default=60.0, gt=0)
    """Seconds for which the CPU must stay above `cpu_percent`."""
    max_age: float = Field(default=0.0, ge=0)
    """A worker older than so many seconds is replaced, give or take a tenth drawn once per worker; 0 is off."""
    max_jobs: int = Field(default=0, ge=0)
    """A worker that has started so many jobs is replaced; 0 is off."""
    register_timeout: float = Field(default=90.0, gt=0)
    """A worker that is not registered for so many seconds, while LiveKit answers its siblings, is replaced."""
    max_disconnects: int = Field(default=3, ge=1)
    """A call that loses its connection to the room so many times within `disconnect_window` counts as an error, kind
    "disconnects", and is reported with its probable causes."""
    disconnect_window: float = Field(default=300.0, gt=0)
    """Seconds for which a lost connection counts."""


class Restart(Section):
    """How soon a failed worker's slot is filled again."""

    backoff_base: float = Field(default=0.5, gt=0)
    """Seconds to wait after the second failure in a row; doubled at each further one. The first is answered at once."""
    backoff_max: float = Field(default=60.0, gt=0)
    """The longest wait between two attempts, in seconds."""
    healthy_after: float = Field(default=30.0, gt=0)
    """A worker that was ready for so many seconds clears its slot's failures."""
    park_after: int = Field(default=5, ge=1)
    """So many failures within `park_window` and the slot is parked: retried at growing intervals only.
    Its siblings go on."""
    park_window: float = Field(default=600.0, gt=0)
    """Seconds for which a failure counts for parking; also the longest interval between retries of a parked slot."""
    park_retry: float = Field(default=60.0, gt=0)
    """Seconds until the first retry of a parked slot; doubled at each further one, up to `park_window`."""


class Pool(Section):
    """Which workers there are, and how many."""

    workers: int = Field(default=4, ge=1, le=1024)
    """How many workers are kept ready. One for each core is plenty; a worker takes many calls at a time."""
    agent: str = "mindbot_worker.voice:server"
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
    """So many workers at most start at one time when the pool is filled. "auto": one for each core."""

    @field_validator("agent")
    @classmethod
    def _names_an_attribute(cls, value: str) -> str:
        module, _, attribute = value.partition(":")
        if not all(part.isidentifier() for name in (module, attribute) for part in name.split(".")):
            raise ValueError("must be MODULE:ATTR, such as mindbot_worker.voice:server")
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
