"""The first start: when every slot's worker says that it can never work, the daemon ends with its words.

Once any worker was ready the settings are good, and a pool never ends because of its workers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mindbot_supervisor.core.workers.model import Exit
from mindbot_worker.protocol.heartbeat import Failure

CONFIG_ERROR = 78
"""Exit code of a worker that can never start with these settings (sysexits.h, EX_CONFIG)."""


RAN_SHORT = 71
"""Exit code of a worker that found nothing left of something as it started (sysexits.h, EX_OSERR)."""


def ran_short(ended: Exit, failure: Failure | None) -> str:
    """What was short, where that is why a worker ended as it started; else empty."""
    if ended.shortage or ended.code != RAN_SHORT:
        return ended.shortage
    return failure.message if failure is not None else "a worker exited with code 71: it could not start for want of it"


@dataclass(slots=True)
class Boot:
    """Which slots' workers said so, as long as no worker was ever ready."""

    _over: bool = False
    _messages: dict[int, str] = field(default_factory=dict)

    def succeeded(self) -> None:
        self._over = True
        self._messages.clear()

    def exited(self, slot: int, ended: Exit, failure: Failure | None) -> str | None:
        """A worker ended unasked. Its message, if it says that it can never start; any other end is a new hope."""
        if self._over or ended.code != CONFIG_ERROR:
            self._messages.clear()
            return None
        message = failure.message if failure else "the worker exited with code 78: its configuration cannot work"
        self._messages[slot] = message
        return message

    def agent_failed(self) -> bool:
        """The template says that the agent can never work, as every worker would say. Whether that is the end."""
        return not self._over

    def hopeless(self, slots: int) -> bool:
        return len(self._messages) == slots

    @property
    def unstartable(self) -> frozenset[int]:
        """Slots that are not tried again until the others have had their go."""
        return frozenset(self._messages)
