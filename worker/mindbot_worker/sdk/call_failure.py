"""Ends a call that cannot go on: reports the error, apologises to the caller, and closes, leaves or hands over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

from livekit import rtc
from livekit.agents import AgentSession, APIConnectOptions, JobContext, tts

from mindbot_config.load import from_environ
from mindbot_worker.jobs import session_metrics
from mindbot_worker.jobs.notify_error import tell
from mindbot_worker.sdk import call_handover

FIRST_SOUND, WHOLE = 5.0, 12.0
"""Seconds within which the voice must begin, and within which all of it must be over."""
_SUBSCRIBED = 2.0
_LEAD, _TAIL = 1.0, 0.4
"""Seconds of silence before: a new track takes so long to reach the caller's ear; and after, for the last sound."""

logger = logging.getLogger(__name__)


async def apologise(room: rtc.Room, session: AgentSession[Any], text: str) -> None:
    """Say `text` in the room, by the session or without it. Never raises, and takes WHOLE seconds at most."""
    try:
        async with asyncio.timeout(WHOLE):
            if not await _say(session, text) and session.tts is not None:
                await _speak(room, session.tts, text)
            await asyncio.sleep(_TAIL)
    except Exception as exc:  # the voice may be what failed
        logger.info("could not apologise to the caller", extra={"reason": type(exc).__name__})


async def _say(session: AgentSession[Any], text: str) -> bool:
    """False for a session that is closed."""
    try:
        speech = session.say(text, allow_interruptions=False, add_to_chat_ctx=False)
    except RuntimeError:
        return False
    await speech.wait_for_playout()
    return True


async def _speak(room: rtc.Room, voice: tts.TTS[Any], text: str) -> None:
    options = APIConnectOptions(max_retry=0, timeout=FIRST_SOUND)
    async with voice.synthesize(text, conn_options=options) as stream:
        frames = aiter(stream)
        first = (await asyncio.wait_for(anext(frames), FIRST_SOUND)).frame
        source = rtc.AudioSource(first.sample_rate, first.num_channels)
        publication = await _publish(room, source)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(publication.wait_for_subscription(), _SUBSCRIBED)
            samples = round(first.sample_rate * _LEAD)
            await source.capture_frame(rtc.AudioFrame.create(first.sample_rate, first.num_channels, samples))
            await source.capture_frame(first)
            await _play(frames, source)
        finally:
            await source.aclose()


async def _publish(room: rtc.Room, source: rtc.AudioSource) -> rtc.LocalTrackPublication:
    track = rtc.LocalAudioTrack.create_audio_track("apology", source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    return await room.local_participant.publish_track(track, options)


async def _play(frames: AsyncIterator[tts.SynthesizedAudio], source: rtc.AudioSource) -> None:
    async for audio in frames:
        await source.capture_frame(audio.frame)
    await source.wait_for_playout()


OnFailure = Literal["close", "leave", "handover"]

_DELETED_WITHIN = 5.0
_VOICE = "tts"

_failing_calls: set[str] = set()
_tasks: set[asyncio.Task[None]] = set()


@dataclass(frozen=True, slots=True)
class FailureHandling:
    """How to end a call that cannot go on; None means as the settings say (`voice.apology`, `voice.on_failure`)."""

    apology: str | None = None
    on_failure: OnFailure | None = None

    def filled(self) -> FailureHandling:
        if self.apology is not None and self.on_failure is not None:
            return self
        voice = from_environ(os.environ).voice
        apology = voice.apology if self.apology is None else self.apology
        return FailureHandling(apology, self.on_failure or voice.on_failure)


def is_failing(context: JobContext) -> bool:
    """Whether this call is already being ended here, so that nothing else should end the job."""
    return context.job.id in _failing_calls


def start_failing(
    context: JobContext, error: object, handling: FailureHandling, session: AgentSession[Any] | None
) -> None:
    """Start `fail` as a task, for callers that cannot await it."""
    task = asyncio.get_running_loop().create_task(fail(context, error, handling, session))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def fail(
    context: JobContext,
    error: object,
    handling: FailureHandling,
    session: AgentSession[Any] | None = None,
    kind: str = "",
) -> None:
    """End the call, once for each call; the job is ending when this returns."""
    if is_failing(context):
        return
    _failing_calls.add(context.job.id)
    kind = tell(error, context=context, kind=kind, fatal=True)
    try:
        if not context.is_fake_job():
            await _end_call(context, handling.filled(), session, silent=kind == _VOICE)
    finally:
        context.shutdown(f"the agent failed: {kind}")


async def _end_call(
    context: JobContext, handling: FailureHandling, session: AgentSession[Any] | None, *, silent: bool
) -> None:
    if handling.on_failure == "handover" and call_handover.is_possible(context):
        call_handover.hand_over()
    session = session or session_metrics.latest(context.job.id)
    if session is not None:
        _mute(session)
        if handling.apology and session.tts is not None and not silent and _has_listeners(context):
            await apologise(context.room, session, handling.apology)
    if handling.on_failure != "leave":
        with contextlib.suppress(Exception):
            await asyncio.wait_for(context.delete_room(), _DELETED_WITHIN)


def _mute(session: AgentSession[Any]) -> None:
    """A session that still runs neither answers nor speaks over the apology."""
    with contextlib.suppress(RuntimeError):
        session.interrupt(force=True)
    session.input.set_audio_enabled(False)


def _has_listeners(context: JobContext) -> bool:
    return context.room.isconnected() and bool(context.room.remote_participants)
