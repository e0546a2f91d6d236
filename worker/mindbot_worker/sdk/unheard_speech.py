"""Notices speech that is not transcribed; connects the session's speech recognition anew, and then reports an error."""

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
    """What to do about speech that is not transcribed: first RESTART, then ERROR."""

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
        """Note a transcript; True if it is the first after a remedy."""
        self._speech, self._since = 0.0, None
        self._count(now)
        recovered, self._restarted = self._restarted, False
        return recovered

    def untranscribed(self, now: float) -> float:
        """Seconds of speech since the last transcript, or the last remedy."""
        return self._speech + (now - self._since if self._since is not None else 0.0)

    def remedy(self, now: float) -> Remedy | None:
        """The remedy that is due now; after each the count begins anew."""
        settled = self._interims or (not self._speaking and now - self._paused_at >= SETTLES)
        if not settled or self.untranscribed(now) < self._after:
            return None
        self._speech, self._since = 0.0, None
        self._count(now)
        remedy = Remedy.ERROR if self._restarted else Remedy.RESTART
        self._restarted = True
        return remedy

    def _count(self, now: float) -> None:
        """Add the stretch of speech up to now, and begin the next one if the caller speaks alone."""
        if self._since is not None:
            self._speech += now - self._since
        self._since = now if self._speaking and not self._agent_speaking else None


STT_DEAF, STT_RECOVERED = "stt.deaf", "stt.recovered"

logger = logging.getLogger(__name__)


class RecognitionRepair:
    """Applies the remedies to one session. `look` is to be called once a second."""

    def __init__(self, session: AgentSession[Any], after: float, on_restart: Callable[[], None] = lambda: None) -> None:
        self._session, self._after, self._on_restart = session, after, on_restart
        self._unheard: UnheardSpeech | None = None
        self.times = 0
        """How often speech was not transcribed."""
        session.on("user_state_changed", self._on_caller)
        session.on("agent_state_changed", self._on_agent)
        session.on("user_input_transcribed", self._on_transcript)

    def look(self, now: float) -> None:
        if self._unheard is None:
            self._begin(now)
            return
        seconds = self._unheard.untranscribed(now)
        remedy = self._unheard.remedy(now)
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
        """Begin to count, once the session has its agent."""
        recognition = recognition_of(self._session)
        if recognition is not None:
            self._unheard = UnheardSpeech(self._after, interims=recognition.capabilities.interim_results)
            self._unheard.caller(self._session.user_state == "speaking", now)
            self._unheard.agent(self._session.agent_state == "speaking", now)

    def _on_caller(self, event: Any) -> None:
        if self._unheard is not None:
            self._unheard.caller(event.new_state == "speaking", time.monotonic())

    def _on_agent(self, event: Any) -> None:
        if self._unheard is not None:
            self._unheard.agent(event.new_state == "speaking", time.monotonic())

    def _on_transcript(self, event: Any) -> None:
        if event.transcript.strip() and self._unheard is not None and self._unheard.transcribed(time.monotonic()):
            logger.info("the caller is understood again", extra={"event": STT_RECOVERED})


def recognition_of(session: AgentSession[Any]) -> stt.STT[Any] | None:
    """The speech recognition of the agent that has the call now; None for a model that listens itself."""
    try:
        own = session.current_agent.stt
    except RuntimeError:  # not started
        return None
    recognition = own if is_given(own) else session.stt
    return recognition if isinstance(recognition, stt.STT) else None


def restart(session: AgentSession[Any]) -> None:
    """Give the same recognition a new stream, and so a new connection."""
    recognition = recognition_of(session)
    if recognition is not None:
        session.current_agent.update_options(stt=recognition)


def fail(session: AgentSession[Any], seconds: float) -> None:
    """Report an error of the recognition: the session counts it, and closes when there are too many."""
    recognition = recognition_of(session)
    if recognition is not None:
        error = APIError(f"no transcript of {seconds:.0f} s of speech", retryable=False)
        recognition.emit(
            "error", stt.STTError(timestamp=time.time(), label=recognition.label, error=error, recoverable=False)
        )
