"""The machine and the versions, in one line under each table."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version

import psutil


def line() -> str:
    memory, load = psutil.virtual_memory(), os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {memory.total / 2**30:.0f} GiB, "
        f"{platform.system()} {platform.release().partition('-')[0]}, Python {platform.python_version()}, "
        f"livekit-agents {version('livekit-agents')}, load before: {load:.1f}"
    )
