"""`watch_audio`, for agents: logs the quality of the caller's sound, and repairs a silent recognition.

    from mindbot_worker import watch_audio

    session = AgentSession(stt=…, vad=…, …)
    watch_audio(session)
    await session.start(agent, room=context.room)

Each ten seconds, and at the end, `audio.quality` tells what was measured of the caller's track, before LiveKit evens
out its level: a warning where it has become bad. The end of the call has it as well (`call.ended`, `summary`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, get_job_context

from mindbot_worker.jobs import session_metrics
from mindbot_worker.jobs.reporter import CallReporter
from mindbot_worker.sdk.audio_quality import GOOD, SILENT, Listener, Quality, track_of_caller
from mindbot_worker.sdk.unheard_speech import RecognitionRepair

AUDIO_QUALITY = "audio.quality"
EVERY = 10.0
"""Seconds between two lines."""
NEVER_HEARD = 30.0
"""A caller of whom nothing at all was heard for so long has no microphone; a silent one just listens."""

_LOOK = 1.0

logger = logging.getLogger(__name__)

_tasks: set[asyncio.Task[None]] = set()


def watch_audio(
    session: AgentSession[Any], *, deaf_after: float = 10.0, on_deaf: Callable[[], None] = lambda: None
) -> None:
    """Watch the caller's sound until the session closes. Call it once, in the job, before or after its start.

    After `deaf_after` seconds of speech without a transcript the speech recognition is connected anew, and after as
    many more there is an error of it (kind "stt"). 0 leaves that to others. What the caller said until then is lost:
    `on_deaf` is called as it is connected anew, to ask for it again.
    """
    context = get_job_context(required=False)
    reporter = session_metrics.reporter_of(context.job.id) if context is not None else None
    watch = _Watch(session, reporter, RecognitionRepair(session, deaf_after, on_deaf) if deaf_after else None)
    task = asyncio.get_running_loop().create_task(watch.run())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    session.on("close", lambda _: task.cancel())


class _Watch:
    """Looks at one session each second."""

    def __init__(
        self, session: AgentSession[Any], reporter: CallReporter | None, repair: RecognitionRepair | None
    ) -> None:
        self._session, self._reporter, self._repair = session, reporter, repair
        self._listener = Listener()
        self._told = GOOD

    async def run(self) -> None:
        reported = time.monotonic()
        try:
            while True:
                await asyncio.sleep(_LOOK)
                await self._listener.update(_track(self._session))
                if self._repair is not None:
                    self._repair.look(time.monotonic())
                if time.monotonic() - reported >= EVERY:
                    reported = time.monotonic()
                    self._report()
        except Exception:
            logger.warning("the caller's sound is not watched any more", exc_info=True)
        finally:
            self._report_all()
            await self._listener.aclose()

    def _report(self) -> None:
        window, whole = self._listener.taken(), self._listener.whole()
        verdict, level = window.verdict, logging.DEBUG
        nothing_yet = whole.sound.speech == 0 and whole.sound.seconds >= NEVER_HEARD
        if verdict != SILENT or nothing_yet:
            if verdict != self._told:
                level = logging.INFO if verdict == GOOD else logging.WARNING
            self._told = verdict
        logger.log(level, "the caller's sound", extra={"event": AUDIO_QUALITY, **window.fields()})
        self._summarise(whole)

    def _report_all(self) -> None:
        self._listener.taken()
        whole = self._listener.whole()
        if whole.sound.blocks:
            told = {**whole.fields(), "seconds": round(whole.sound.seconds, 1), "whole_call": True}
            logger.info("the caller's sound", extra={"event": AUDIO_QUALITY, **told})
        self._summarise(whole)

    def _summarise(self, whole: Quality) -> None:
        if self._reporter is None or not whole.sound.blocks:
            return
        fields = whole.fields()
        self._reporter.summarise(audio=fields.pop("verdict"), **fields)
        if self._repair is not None:
            self._reporter.summarise(deaf=self._repair.times)


def _track(session: AgentSession[Any]) -> rtc.RemoteAudioTrack | None:
    try:
        return track_of_caller(session.room_io.linked_participant)
    except RuntimeError:  # not started yet, or not in a room
        return None
