"""The daemon and its command line import the settings first: they stay light."""

from __future__ import annotations

import subprocess
import sys

PROBE = """
import sys
import mindbot_config.credentials, mindbot_config.display, mindbot_config.paths, mindbot_config.sources
mindbot_config.sources.load({}, None, {})
heavy = {"livekit", "dotenv", "pydantic_settings", "aiohttp", "mindbot_worker", "mindbot_supervisor"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
