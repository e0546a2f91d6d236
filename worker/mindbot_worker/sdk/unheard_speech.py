"""Speech that nobody transcribes: noticed, and the session's recognition connected anew, once, before the call
fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from livekit.agents import AgentSession, APIError, stt
from livekit.agents.utils import is_given

SETTLES = 2.0
"""Seconds after the end of speech within which a transcript may still come."""


class Remedy(StrEnum):
    """What is to be done about a deaf session: first this, then that."""

    RESTART = "restart"
    ERROR = "error"


class UnheardSpeech:
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


STT_DEAF, STT_RECOVERED = "stt.deaf", "stt.recovered"

logger = logging.getLogger(__name__)


class RecognitionRepair:
    """Told by the session who speaks, and what was understood; `look` once a second does the rest."""

    def __init__(self, session: AgentSession[Any], after: float, on_restart: Callable[[], None] = lambda: None) -> None:
        self._session, self._after, self._on_restart = session, after, on_restart
        self._deafness: UnheardSpeech | None = None
        self.times = 0
        """How often the session was found deaf."""
        session.on("user_state_changed", self._on_caller)
        session.on("agent_state_changed", self._on_agent)
        session.on("user_input_transcribed", self._on_transcript)

    def look(self, now: float) -> None:
        if self._deafness is None:
            self._begin(now)
            return
        seconds = self._deafness.untranscribed(now)
        remedy = self._deafness.remedy(now)
        if remedy is None:
            return
        self.times += 1
        logger.warning(
            "the caller speaks and nothing is understood",
            extra={"event": STT_DEAF, "speech_seconds": round(seconds, 1), "remedy": remedy.value},
        )
        if remedy is Remedy.RESTART:
            restart(self._session)
            self._on_restart()
        else:
            fail(self._session, seconds)

    def _begin(self, now: float) -> None:
        """A session has its agent only some time after it was made."""
        ears = recognition_of(self._session)
        if ears is not None:
            self._deafness = UnheardSpeech(self._after, interims=ears.capabilities.interim_results)
            self._deafness.caller(self._session.user_state == "speaking", now)
            self._deafness.agent(self._session.agent_state == "speaking", now)

    def _on_caller(self, event: Any) -> None:
        if self._deafness is not None:
            self._deafness.caller(event.new_state == "speaking", time.monotonic())

    def _on_agent(self, event: Any) -> None:
        if self._deafness is not None:
            self._deafness.agent(event.new_state == "speaking", time.monotonic())

    def _on_transcript(self, event: Any) -> None:
        if event.transcript.strip() and self._deafness is not None and self._deafness.transcribed(time.monotonic()):
            logger.info("the caller is understood again", extra={"event": STT_RECOVERED})


def recognition_of(session: AgentSession[Any]) -> stt.STT[Any] | None:
    """The speech recognition of the agent that has the call now; None for a model that listens itself."""
    try:
        own = session.current_agent.stt
    except RuntimeError:  # not started
        return None
    ears = own if is_given(own) else session.stt
    return ears if isinstance(ears, stt.STT) else None


def restart(session: AgentSession[Any]) -> None:
    """The same recognition with a new stream, and so a new connection: what the agent hears from now on goes there."""
    ears = recognition_of(session)
    if ears is not None:
        session.current_agent.update_options(stt=ears)


def fail(session: AgentSession[Any], seconds: float) -> None:
    """As if the recognition itself had failed: the session counts it, and closes when there are too many."""
    ears = recognition_of(session)
    if ears is not None:
        error = APIError(f"no transcript of {seconds:.0f} s of speech", retryable=False)
        ears.emit("error", stt.STTError(timestamp=time.time(), label=ears.label, error=error, recoverable=False))
