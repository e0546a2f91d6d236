"""[usage]: how much of the providers may be used before somebody is told."""

from __future__ import annotations

from pydantic import Field

from mindbot_config.sections.base import Section


class Usage(Section):
    """Soft budgets of all workers together: when one is exceeded, `limit.warned` says so once, and nothing is stopped.
    0 is no budget. Days begin at midnight UTC, and with the daemon: what was used before it is not known."""

    openai_budget_requests_per_minute: int = Field(default=0, ge=0)
    """Requests within a minute."""
    openai_budget_tokens_per_day: int = Field(default=0, ge=0)
    """Tokens, in and out together."""
    deepgram_budget_audio_hours_per_day: float = Field(default=0.0, ge=0)
    """Hours of sound that Deepgram has heard, as it bills them: of each connection from its beginning to its end."""
