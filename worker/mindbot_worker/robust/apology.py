"""A last sentence: said by the session while it runs, and otherwise spoken into the room beside what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, APIConnectOptions, tts

FIRST_SOUND, WHOLE = 5.0, 12.0
"""Seconds within which the voice must begin, and within which all of it must be over."""
_SUBSCRIBED = 2.0
_LEAD, _TAIL = 1.0, 0.4
"""Seconds of silence before: a new track takes so long to reach the caller's ear; and after, for the last sound."""

logger = logging.getLogger(__name__)


async def apologise(room: rtc.Room, session: AgentSession[Any], text: str) -> None:
    """Never raises, and takes WHOLE seconds at most."""
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
