"""How a single worker is run and watched, where its secrets come from, and what becomes of its calls when it dies."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mindbot_config.sections.base import OptionalPath
from mindbot_config.sections.limits import Section


class Recovery(Section):
    """What happens to the calls of a worker that died."""

    enabled: bool = True
    """Bring a new agent, with the conversation so far, into each room whose agent died. Without it the caller stays
    alone: LiveKit does not dispatch again."""
    attempts: int = Field(default=2, ge=1, le=10)
    """How often one call is given a new agent. After that its room is quarantined, lest one call kill all workers."""
    deadline: float = Field(default=5.0, gt=0, le=60)
    """Seconds within which the new agent must be in the room; later the attempt has failed."""
    sentence: str = "Sorry, I lost you for a moment. I am here again."
    """What MindBot says in place of the greeting when it continues a call. The answer that the caller was waiting for,
    if any, follows. Empty: it says nothing."""


class Env(Section):
    """The file with credentials and other environment variables for the workers."""

    file: OptionalPath = None
    """A file of NAME=value lines (see env.example); it overrides the inherited environment, both for the workers and
    for MINDBOT_* settings. Values are taken as they are: $NAME is not replaced. Keep it at mode 0600."""
    watch: bool = False
    """Roll the workers, one at a time, when the env file changes; otherwise it is read again at `reload`."""


class Worker(Section):
    """How a single worker process is run and watched."""

    heartbeat: Literal["auto", "required", "optional"] = "auto"
    """Whether a worker must send heartbeats. "required": it is ready when it says so, and hung when it is silent.
    "optional": ready once it has lived for `ready_after`; if it does send heartbeats, they count. "auto": required
    with `pool.agent`, optional with `pool.command`."""
    ready_after: float = Field(default=1.0, ge=0)
    """Seconds that a worker without required heartbeats must live to count as ready."""
    registered: bool = True
    """false: serve without registering at LiveKit, so no real calls come in; for trials and tests."""
    synthetic_interval: float = Field(default=0.0, ge=0)
    """Seconds between synthetic calls in each worker, which prove that it can serve; 0 is none."""
    memory_interval: float = Field(default=60.0, ge=0)
    """Seconds between two log lines about the memory of each worker's own process; 0 is none. With the environment
    variable PYTHONTRACEMALLOC=1 they name the lines of code whose memory has grown most."""
    monitor_performance: bool = True
    """Measure the functions under `monitor_performance` (MindBot's own steps, and those of your agent): a line about
    them at the end of each call, and a warning where one is slow. false: they are left as they are."""
