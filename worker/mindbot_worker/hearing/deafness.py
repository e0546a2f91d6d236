"""Speech that nobody transcribes: the caller talks, the recognition says nothing. Pure: it is told the time."""

from __future__ import annotations

from enum import StrEnum

SETTLES = 2.0
"""Seconds after the end of speech within which a transcript may still come."""


class Remedy(StrEnum):
    """What is to be done about a deaf session: first this, then that."""

    RESTART = "restart"
    ERROR = "error"


class Deafness:
    """Counts the caller's speech since the last transcript, as far as the agent was silent: what is said while it
    speaks may be its own echo, which LiveKit keeps from the recognition at first.

    `after` is seconds of such speech. Where the recognition has `interims`, it must have said something while the
    caller speaks; where not, it is given time until the caller has paused.
    """

    def __init__(self, after: float, *, interims: bool) -> None:
        self._after, self._interims = after, interims
        self._speech = 0.0
        self._since: float | None = None
        self._speaking = False
        self._agent_speaking = False
        self._paused_at = 0.0
        self._restarted = False

    def caller(self, speaking: bool, now: float) -> None:
        self._count(now)
        if self._speaking and not speaking:
            self._paused_at = now
        self._speaking = speaking
        self._count(now)

    def agent(self, speaking: bool, now: float) -> None:
        self._count(now)
        self._agent_speaking = speaking
        self._count(now)

    def transcribed(self, now: float) -> bool:
        """A transcript came; True if that ends a time of deafness."""
        self._speech, self._since = 0.0, None
        self._count(now)
        recovered, self._restarted = self._restarted, False
        return recovered

    def untranscribed(self, now: float) -> float:
        """Seconds of speech since the last transcript, or the last remedy."""
        return self._speech + (now - self._since if self._since is not None else 0.0)

    def remedy(self, now: float) -> Remedy | None:
        """What is to be done now; after each remedy it begins to count anew."""
        settled = self._interims or (not self._speaking and now - self._paused_at >= SETTLES)
        if not settled or self.untranscribed(now) < self._after:
            return None
        self._speech, self._since = 0.0, None
        self._count(now)
        remedy = Remedy.ERROR if self._restarted else Remedy.RESTART
        self._restarted = True
        return remedy

    def _count(self, now: float) -> None:
        """Close the stretch that was counted so far, and open the next if there is one."""
        if self._since is not None:
            self._speech += now - self._since
        self._since = now if self._speaking and not self._agent_speaking else None
