"""What job processes share with the server that they are forked from: made once, in one thread, and of use after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mindbot_worker.template.fork_safety import SINGLE_THREADED

FORK_AND_USE = """
import asyncio, os, sys
from pathlib import Path

import mindbot_worker.jobs.preload
import mindbot_worker.mindbot.preload
from livekit import rtc
from livekit.agents.utils import http_context
from mindbot_config.sections.voice import Voice
from mindbot_worker.providers import openai_client as tls
from mindbot_worker.mindbot import session as activity

def made():
    caches = (activity._load, tls._tls_context, http_context._ssl_context_for)
    return [each.cache_info().currsize for each in caches]

async def hear():
    stream = activity.detector(Voice()).stream()
    stream.push_frame(rtc.AudioFrame.create(16000, 1, 16000))
    tls.tls_context(), http_context._create_ssl_context()
    async with asyncio.timeout(30):
        return (await anext(aiter(stream))).type

def native():
    return "liblivekit_ffi" in Path("/proc/self/maps").read_text()

threads = len(list(Path("/proc/self/task").iterdir()))
assert (threads, native(), made()) == (1, True, [1, 1, 1]), (threads, native(), made())
child = os.fork()
if child == 0:
    assert len(rtc.AudioResampler(48000, 16000).push(rtc.AudioFrame.create(48000, 1, 48000))) > 0
    kind = asyncio.run(hear())
    sys.stdout.write(f"{kind} {made()}")
    sys.stdout.flush()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_what_is_loaded_once_in_one_thread_works_in_a_fork(tmp_path: Path) -> None:
    environ = {**os.environ, **SINGLE_THREADED, "HOME": str(tmp_path)}
    command = [sys.executable, "-c", FORK_AND_USE]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "VADEventType.INFERENCE_DONE [1, 1, 1]"
