"""What reaches the agent of its caller's voice: measured in real calls, and mended where the recognition is deaf."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from live.caller import RATE, calling, load_phrases
from live.livekit import MISSING, find_livekit_server, local, skip_or_fail  # noqa: F401 (a fixture)
from live.supervised import ready, supervised, wait

pytestmark = pytest.mark.live
PHRASES = load_phrases()
PHRASE = next(iter(PHRASES))
SPEECH = np.concatenate([np.pad(each, (0, RATE // 2)) for each in PHRASES.values()])
"""All phrases, each with half a second after it."""


def amplified(decibels):
    """The speech so much louder, cut off at full scale as a bad microphone does it."""
    return np.clip(SPEECH.astype(np.float64) * 10 ** (decibels / 20), -32768, 32767).astype(np.int16)


VOICES = {"good": SPEECH, "quiet": amplified(-24), "clipping": amplified(20), "silent": np.zeros(RATE, np.int16)}


async def talk(server, room, voice, seconds):
    async with calling(server, room) as caller:
        await caller.hear(30)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await caller.play(voice)


async def test_each_voice_gets_its_verdict(tmp_path, local):  # noqa: F811
    with supervised(tmp_path, local, "--log-level", "debug", workers=2) as daemon:
        await ready(daemon, 2)
        await asyncio.gather(*(talk(local.server, room, voice, 24) for room, voice in VOICES.items()))
        for verdict in VOICES:
            whole = await wait(daemon, "audio.quality", room=verdict, whole_call=True)
            assert whole["verdict"] == verdict, whole
            assert (whole["level"], whole["packet_loss"]) == ("info", pytest.approx(0, abs=0.02))
            ended = await wait(daemon, "call.ended", room=verdict)
            assert ended["summary"]["audio"] == verdict
            windows = [each for each in daemon.events("audio.quality", room=verdict) if "whole_call" not in each]
            assert windows
            warned = [each["verdict"] for each in windows if each["level"] == "warning"]
            assert warned == ([verdict] if verdict in ("quiet", "clipping") else []), windows
        levels = {room: daemon.events("audio.quality", room=room, whole_call=True)[0] for room in VOICES}
        assert levels["quiet"]["level_dbfs"] == pytest.approx(levels["good"]["level_dbfs"] - 24, abs=3)
        assert levels["silent"]["silence"] > 0.99
        states = {each["state"] for each in daemon.events("agent.state", room="good", level="debug")}
        assert {"listening", "speaking"} <= states
        assert daemon.events("user.state", room="good", state="speaking", level="debug")
        assert await asyncio.to_thread(daemon.terminate, 60) == 0


def test_a_fifth_of_the_packets_lost_is_told(tmp_path):
    """In a network of its own, whose kernel drops them: see lossy_call."""
    if find_livekit_server() is None:
        skip_or_fail(MISSING)
    alone = ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces for this user")
    script = Path(__file__).with_name("lossy_call.py")
    done = subprocess.run([*alone, sys.executable, str(script), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    assert told["whole"]["verdict"] == told["summary"]["audio"] == "lossy"
    assert told["windows"][-1]["packet_loss"] == pytest.approx(0.2, abs=0.08)
    assert "warning" in [each["level"] for each in told["windows"] if each["verdict"] == "lossy"]


async def test_a_deaf_session_is_mended_and_the_call_goes_on(tmp_path, local):  # noqa: F811
    local.forget()
    local.break_next("stt", "stall")
    with supervised(tmp_path, local, workers=1, VOICE__DEAF_AFTER="4") as daemon:
        await ready(daemon, 1)
        async with calling(local.server, "deaf") as caller:
            await caller.hear(30)
            await caller.silence(1.0, within=30)
            deaf = asyncio.create_task(wait(daemon, "stt.deaf", room="deaf"))
            while not deaf.done():
                await caller.play(SPEECH)
            assert (await deaf)["remedy"] == "restart"
            assert not daemon.events("user.speech", room="deaf")
            understood = asyncio.create_task(wait(daemon, "user.speech", room="deaf"))
            while not understood.done():
                ended = await caller.say(PHRASE)
                await asyncio.sleep(1.0)
            await understood
            await caller.hear(30, since=ended)
            await wait(daemon, "stt.recovered", room="deaf")
        ended = await wait(daemon, "call.ended", room="deaf")
        assert ended["summary"]["deaf"] == 1
        assert len(daemon.events("stt.deaf")) == 1
        assert not daemon.events("job.error")
        assert {row["worker"] for row in daemon.status()["workers"]} == {"0.1"}


async def test_a_session_that_stays_deaf_is_an_error_of_the_recognition(tmp_path, local):  # noqa: F811
    local.forget()
    local.break_next("stt", "stall", times=20)
    with supervised(tmp_path, local, workers=1, VOICE__DEAF_AFTER="4") as daemon:
        await ready(daemon, 1)
        async with calling(local.server, "stone") as caller:
            await caller.hear(30)
            await caller.silence(1.0, within=30)
            failed = asyncio.create_task(wait(daemon, "job.error", room="stone", kind="stt", recoverable=False))
            while not failed.done():
                await caller.play(SPEECH)
            assert "no transcript of" in (await failed)["reason"]
        remedies = [each["remedy"] for each in daemon.events("stt.deaf", room="stone")]
        assert remedies[:2] == ["restart", "error"]
        local.forget()


KNOBS = {
    "ENDPOINTING_MS": "100",
    "FILLER_WORDS": "false",
    "NUMERALS": "true",
    "PROFANITY_FILTER": "true",
    "KEYTERMS": '["MindBot", "weather"]',
    "REDACT": '["pci"]',
    "MIP_OPT_OUT": "true",
    "STT_SAMPLE_RATE": "8000",
    "VAD_SAMPLE_RATE": "8000",
    "ACTIVATION_THRESHOLD": "0.4",
    "PREFIX_PADDING_DURATION": "0.2",
}
ASKED = {
    "endpointing": "100",
    "filler_words": "false",
    "numerals": "true",
    "profanity_filter": "true",
    "keyterm": ["MindBot", "weather"],
    "redact": "pci",
    "mip_opt_out": "true",
    "sample_rate": "8000",
    "interim_results": "true",
}


async def test_the_end_of_a_call_tells_how_soon_it_was_answered_whatever_the_ears_are_set_to(tmp_path, local):  # noqa: F811
    local.forget()
    with supervised(tmp_path, local, workers=1, **{f"VOICE__{name}": value for name, value in KNOBS.items()}) as daemon:
        await ready(daemon, 1)
        async with calling(local.server, "turns") as caller:
            await caller.hear(30)
            for phrase in PHRASES:
                await caller.silence(1.0, within=30)
                ended = await caller.say(phrase)
                await caller.hear(30, since=ended)
            await caller.silence(1.0, within=30)
        ended = await wait(daemon, "call.ended", room="turns")
        summary = ended["summary"]
        assert (summary["turns"], summary["unspoken"]) == (3, 0)
        assert summary["replies"] >= 4
        for step in ("end_of_turn", "llm_first_token", "tts_first_byte", "response"):
            assert 0 < summary[f"{step}_p50"] <= summary[f"{step}_p95"], step
        turns = daemon.events("agent.turn", room="turns")
        answers = [turn["response"] for turn in turns if "response" in turn]
        assert len(answers) >= 3
        assert summary["response_p95"] == pytest.approx(max(answers), rel=0.05)
        asked = local.seen("stt")[0]["params"]
        assert {name: asked.get(name) for name in ASKED} == ASKED
