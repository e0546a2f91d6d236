"""A caller: joins a room as a person with a microphone and ears would, and can tell what it heard and when."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import wave
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from livekit import api, rtc

from live.ears import Ears, Heard
from live.livekit import PHRASES, Server
from mindbot_worker.livekit_adapter import native_logs

RATE = 16_000
_FRAME = RATE // 50
_CONNECT_SECONDS = 15.0


native_logs.leave_to_library()  # callers are to leave the CPU to the agents: half of joining a room is logging it


@dataclass(frozen=True, slots=True)
class Agent:
    identity: str
    kind: str


class Caller:
    """Times are those of `time.monotonic()`. Make one with `calling`."""

    def __init__(self, room: rtc.Room, agents_only: bool) -> None:
        self.room = room
        self.ears = Ears()
        self._agents_only = agents_only
        self._source = rtc.AudioSource(RATE, 1, queue_size_ms=100)
        self._mouth: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._phrases = load_phrases()
        room.on("track_subscribed", self._on_track)
        for event in ("participant_connected", "participant_disconnected"):
            room.on(event, self._on_change)

    async def join(self, url: str, token: str) -> None:
        """Joins, and speaks silence from then on, as a microphone does."""
        await asyncio.wait_for(self.room.connect(url, token), _CONNECT_SECONDS)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await asyncio.wait_for(self.room.local_participant.publish_track(track, options), _CONNECT_SECONDS)
        self._spawn(self._speak())

    async def say(self, text: str) -> float:
        """Speaks a phrase of the phrase book in real time; returns the moment it ended."""
        return await self.play(self._phrases[text])

    async def play(self, samples: np.ndarray[Any, np.dtype[np.int16]]) -> float:
        """Any sound at RATE; returns the moment it ended."""
        for start in range(0, len(samples), _FRAME):
            frame = samples[start : start + _FRAME]
            self._mouth.put_nowait(np.pad(frame, (0, _FRAME - len(frame))).tobytes())
        await self._mouth.join()
        return time.monotonic()

    async def hear(self, within: float, *, since: float | None = None, identity: str | None = None) -> Heard:
        """The first sound from an agent (or from `identity`) after `since`, which is now unless given.

        Raises TimeoutError. Sound that had begun before `since` and goes on is heard at `since`.
        """
        return await self.ears.hear(within, time.monotonic() if since is None else since, identity)

    async def silence(self, seconds: float, within: float) -> None:
        """Returns once nothing was heard for `seconds`. Raises TimeoutError."""
        await self.ears.silence(seconds, within)

    def longest_gap(self, since: float, until: float | None = None) -> float:
        """The longest silence in that time, in seconds: the whole of it if nothing was heard."""
        return self.ears.longest_gap(since, time.monotonic() if until is None else until)

    def agents(self) -> list[Agent]:
        """The agents in the room, as this client sees it: the server tells clients up to 3 s late."""
        return [_agent(each) for each in self.room.remote_participants.values() if _is_agent(each)]

    async def agent_joined(self, within: float, *, other_than: set[str] | None = None) -> Agent:
        """The first agent that is here or comes, except those of the identities given. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while True:
                self._changed.clear()
                for agent in self.agents():
                    if agent.identity not in (other_than or ()):
                        return agent
                await self._changed.wait()

    async def hang_up(self) -> None:
        """Leaves the room. Safe to call twice."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.room.disconnect()
        await self._source.aclose()

    async def _speak(self) -> None:
        """A frame every 20 ms by the clock: a late one is made up for, so the speed is that of real time."""
        silence, due = bytes(2 * _FRAME), time.monotonic()
        while True:
            spoken = not self._mouth.empty()
            data = self._mouth.get_nowait() if spoken else silence
            await self._source.capture_frame(rtc.AudioFrame(data, RATE, 1, _FRAME))
            due += 0.02
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if spoken:
                self._mouth.task_done()

    def _on_track(self, track: rtc.Track, _: rtc.RemoteTrackPublication, sender: rtc.RemoteParticipant) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO and (_is_agent(sender) or not self._agents_only):
            self._spawn(self._listen(track, sender.identity))

    async def _listen(self, track: rtc.Track, identity: str) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=20)
        try:
            async for event in stream:
                samples = np.frombuffer(event.frame.data, np.int16)
                self.ears.take(samples, identity, time.monotonic(), track.sid)
        finally:
            await stream.aclose()

    def _on_change(self, _: Any) -> None:
        self._changed.set()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextlib.asynccontextmanager
async def calling(
    server: Server, room: str, *, identity: str = "caller", agent_name: str | None = None, agents_only: bool = True
) -> AsyncIterator[Caller]:
    """A caller in `room`, who hangs up at the end. With `agent_name`, that agent is asked for by the token."""
    caller = Caller(rtc.Room(), agents_only)
    try:
        await caller.join(server.url, token_for(server, room, identity, agent_name))
        yield caller
    finally:
        await caller.hang_up()


@contextlib.asynccontextmanager
async def attending(server: Server, room: str, *, hears: bool = False) -> AsyncIterator[rtc.Room]:
    """A caller who neither speaks nor listens: a live call at a tenth of the cost. One who `hears` takes the agent's
    sound and throws it away: without that an agent never comes to the end of a sentence.
    """
    attended = rtc.Room()
    try:
        options = rtc.RoomOptions(auto_subscribe=hears)
        await asyncio.wait_for(
            attended.connect(server.url, token_for(server, room, "caller"), options), _CONNECT_SECONDS
        )
        yield attended
    finally:
        await attended.disconnect()


def token_for(server: Server, room: str, identity: str, agent_name: str | None = None) -> str:
    token = api.AccessToken(server.api_key, server.api_secret).with_identity(identity)
    token = token.with_grants(api.VideoGrants(room_join=True, room=room))
    if agent_name is not None:
        dispatch = api.RoomAgentDispatch(agent_name=agent_name)
        token = token.with_room_config(api.RoomConfiguration(agents=[dispatch]))
    return token.to_jwt()


def load_phrases() -> dict[str, np.ndarray[Any, np.dtype[np.int16]]]:
    """The sound of each phrase in the test phrase book."""
    phrases = {}
    for entry in json.loads(PHRASES.read_text()):
        with wave.open(str(PHRASES.parent / entry["wav"])) as file:
            assert file.getframerate() == RATE
            file.setpos(round(entry["start"] * RATE))
            data = file.readframes(round((entry["end"] - entry["start"]) * RATE))
        phrases[entry["text"]] = np.frombuffer(data, np.int16)
    return phrases


def _agent(participant: rtc.RemoteParticipant) -> Agent:
    return Agent(participant.identity, rtc.ParticipantKind.Name(participant.kind).removeprefix("PARTICIPANT_KIND_"))


def _is_agent(participant: rtc.RemoteParticipant) -> bool:
    return participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
