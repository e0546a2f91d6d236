"""[recovery]: what happens to the calls of a worker that died."""

from __future__ import annotations

from pydantic import Field

from mindbot_config.sections.base import Section


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
