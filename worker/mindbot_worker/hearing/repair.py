"""A session that hears its caller and understands nothing: its recognition is connected anew, once, then fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from livekit.agents import AgentSession, APIError, stt
from livekit.agents.utils import is_given

from mindbot_worker.hearing.deafness import Deafness, Remedy

STT_DEAF, STT_RECOVERED = "stt.deaf", "stt.recovered"

logger = logging.getLogger(__name__)


class Repair:
    """Told by the session who speaks, and what was understood; `look` once a second does the rest."""

    def __init__(self, session: AgentSession[Any], after: float, on_restart: Callable[[], None] = lambda: None) -> None:
        self._session, self._after, self._on_restart = session, after, on_restart
        self._deafness: Deafness | None = None
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
        ears = ears_of(self._session)
        if ears is not None:
            self._deafness = Deafness(self._after, interims=ears.capabilities.interim_results)
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


def ears_of(session: AgentSession[Any]) -> stt.STT[Any] | None:
    """The speech recognition of the agent that has the call now; None for a model that listens itself."""
    try:
        own = session.current_agent.stt
    except RuntimeError:  # not started
        return None
    ears = own if is_given(own) else session.stt
    return ears if isinstance(ears, stt.STT) else None


def restart(session: AgentSession[Any]) -> None:
    """The same recognition with a new stream, and so a new connection: what the agent hears from now on goes there."""
    ears = ears_of(session)
    if ears is not None:
        session.current_agent.update_options(stt=ears)


def fail(session: AgentSession[Any], seconds: float) -> None:
    """As if the recognition itself had failed: the session counts it, and closes when there are too many."""
    ears = ears_of(session)
    if ears is not None:
        error = APIError(f"no transcript of {seconds:.0f} s of speech", retryable=False)
        ears.emit("error", stt.STTError(timestamp=time.time(), label=ears.label, error=error, recoverable=False))
