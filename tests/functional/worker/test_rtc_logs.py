"""The log of LiveKit's native library in a job process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CONNECT_TO_NOBODY = """
import asyncio
from livekit import rtc
from livekit.rtc import _ffi_client
from mindbot_worker.livekit_adapter import native_logs as rtc_logs

passed_on = []
level = _ffi_client.to_python_level
_ffi_client.to_python_level = lambda found: passed_on.append(found) or level(found)
rtc_logs.leave_to_library()
rtc_logs.leave_to_library()

async def connect():
    try:
        await rtc.Room().connect("ws://127.0.0.1:1", "no token")
    except rtc.ConnectError:
        await asyncio.sleep(1.5)  # it passes its log on once a second

asyncio.run(connect())
print(len(passed_on))
"""


@pytest.mark.parametrize(("debug", "passes_on"), [("", False), ("1", True)])
def test_it_is_passed_on_only_to_who_wants_it(debug: str, passes_on: bool) -> None:
    environ = {**os.environ, "LIVEKIT_RTC_DEBUG": debug}
    command = [sys.executable, "-c", CONNECT_TO_NOBODY]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert (int(ran.stdout) > 0) == passes_on
    assert passes_on or "ERROR" in ran.stderr or "WARN" in ran.stderr, "what matters is written all the same"
