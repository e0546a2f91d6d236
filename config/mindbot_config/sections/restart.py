"""[restart]: how soon the slot of a failed worker is filled again."""

from __future__ import annotations

from pydantic import Field

from mindbot_config.sections.base import Section


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
