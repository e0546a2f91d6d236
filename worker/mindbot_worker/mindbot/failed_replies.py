"""Asks the caller again after a reply that failed, and ends the call after several in a row."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from livekit.agents import (
    AgentSession,
    APIError,
    ErrorEvent,
    JobContext,
    SpeechCreatedEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
    llm,
)
from livekit.agents.voice import SpeechHandle

from mindbot_config.sections.voice import Voice
from mindbot_worker.livekit_adapter.fallback_adapters import is_refusal
from mindbot_worker.sdk.call_failure import FailureHandling, is_failing, start_failing

_VOICE_RETRY_AFTER = 2.0
"""Seconds from a failure of speech synthesis to the excuse, which tries it again: some faults are over by then."""
_MUTE_MAX = 10.0
"""Seconds without speech synthesis after which the call is ended, however few replies have failed."""


class FailedReplies:
    """After each failed reply says `voice.excuse`; after `voice.failed_replies` of them in a row ends the call.

    Failed is a reply that met an error, one that the model left empty, and one that never came because nothing could
    hear what the caller said. It is answered for when its turn is over: LiveKit prepares replies while the caller still
    speaks, and what is said then is cut off with the next word.
    """

    def __init__(self, context: JobContext, session: AgentSession[Any], voice: Voice) -> None:
        self._context, self._session, self._voice = context, session, voice
        self._in_a_row = 0
        self._failing_since = 0.0
        self._errors = 0
        """Errors of replies so far."""
        self._last: Any = None
        self._unheard = False
        """Whether the caller has said something of which nothing was understood yet."""
        self._excuse_due = False
        """Whether the excuse waits for the caller to pause."""
        session.on("error", self._on_error)
        session.on("speech_created", self._on_speech)
        session.on("user_state_changed", self._on_caller)
        session.on("user_input_transcribed", self._on_transcript)

    def say(self) -> None:
        """Say the excuse at once, or when the caller pauses: nobody hears it while they speak themselves."""
        if is_failing(self._context):
            return
        if self._session.user_state == "speaking":
            self._excuse_due = True
            return
        self._excuse_due = self._unheard = False
        if self._voice.excuse:
            with contextlib.suppress(RuntimeError):  # the session is closing
                # no part of the conversation: to the model there was no reply
                self._session.say(self._voice.excuse, add_to_chat_ctx=False)

    def _on_error(self, event: ErrorEvent) -> None:
        error = event.error
        if error.recoverable:
            return
        if error.type in ("llm_error", "tts_error"):
            self._errors += 1
            self._last = error
        elif error.type == "stt_error" and self._unheard and not is_refusal(error.error):
            # LiveKit connects it again by itself, and whoever has said nothing waits for nothing. With a refused key
            # the session is about to close, and the apology comes.
            self._failed(error)

    def _on_speech(self, event: SpeechCreatedEvent) -> None:
        errors, is_reply = self._errors, event.source == "generate_reply"
        event.speech_handle.add_done_callback(lambda speech: self._on_done(speech, errors, is_reply))

    def _on_done(self, speech: SpeechHandle, errors: int, is_reply: bool) -> None:
        if speech.interrupted or not speech.scheduled:
            return
        if is_reply and errors == self._errors and not speech.chat_items:
            self._tell_empty()
        if errors != self._errors:
            self._failed(self._last)
        elif is_reply:
            self._in_a_row = 0

    def _tell_empty(self) -> None:
        """Report an empty answer as an error of the model: LiveKit does not."""
        mind = self._session.llm
        if isinstance(mind, llm.LLM):
            error = APIError("the answer was empty", retryable=False)
            told = llm.LLMError(timestamp=time.time(), label=mind.label, error=error, recoverable=False)
            mind.emit("error", told)

    def _failed(self, error: Any) -> None:
        now = time.monotonic()
        self._failing_since = self._failing_since if self._in_a_row else now
        self._in_a_row += 1
        mute = error.type == "tts_error" and now - self._failing_since > _MUTE_MAX
        if mute or self._in_a_row >= self._voice.failed_replies:
            start_failing(
                self._context, error, FailureHandling(self._voice.apology, self._voice.on_failure), self._session
            )
        elif error.type == "tts_error":
            asyncio.get_running_loop().call_later(_VOICE_RETRY_AFTER, self.say)
        else:
            self.say()

    def _on_caller(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._unheard = True
        elif self._excuse_due and self._unheard:
            self.say()
        else:
            self._excuse_due = False  # what was said in the end is understood, and answered

    def _on_transcript(self, event: UserInputTranscribedEvent) -> None:
        if event.transcript.strip():
            self._unheard = False
