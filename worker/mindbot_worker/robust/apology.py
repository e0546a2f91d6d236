"""A last sentence, spoken into the room beside whatever is left of the session."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectOptions, tts

FIRST_SOUND, WHOLE = 5.0, 12.0
"""Seconds within which the voice must begin, and within which all of it must be over."""
_SUBSCRIBED = 2.0
_TAIL = 0.4
"""Seconds that the last sound takes to the caller's ear."""

logger = logging.getLogger(__name__)


async def apologise(room: rtc.Room, voice: tts.TTS[Any], text: str) -> bool:
    """Whether the caller heard all of it. Never raises, and takes WHOLE seconds at most."""
    try:
        async with asyncio.timeout(WHOLE):
            await _speak(room, voice, text)
    except Exception as exc:  # the voice may be what failed
        logger.info("could not apologise to the caller", extra={"reason": type(exc).__name__})
        return False
    return True


async def _speak(room: rtc.Room, voice: tts.TTS[Any], text: str) -> None:
    options = APIConnectOptions(max_retry=0, timeout=FIRST_SOUND)
    async with voice.synthesize(text, conn_options=options) as stream:
        frames = aiter(stream)
        first = await asyncio.wait_for(anext(frames), FIRST_SOUND)
        source = rtc.AudioSource(first.frame.sample_rate, first.frame.num_channels)
        publication = await _publish(room, source)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(publication.wait_for_subscription(), _SUBSCRIBED)
            await source.capture_frame(first.frame)
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
    await asyncio.sleep(_TAIL)
