"""Reads the environment variables of a worker, and sets those that LiveKit reads when it is imported."""

from __future__ import annotations

import os
import stat
from collections.abc import MutableMapping
from pathlib import Path

from mindbot_config.errors import ConfigError
from mindbot_config.host.descriptors import Descriptor
from mindbot_config.load import from_environ
from mindbot_config.settings import Settings
from mindbot_worker.livekit_adapter.loop_monitor import LOOP_BLOCK_WARN_MS, LOOP_BLOCK_WARN_MS_IN_CALLS
from mindbot_worker.protocol import heartbeat
from mindbot_worker.runtime.shutdown import ConfigFailure

Environ = MutableMapping[str, str]

MINDBOT = "mindbot_worker.mindbot:server"

_OFF, _LOOP_BLOCKED = "0", "250"
"""Milliseconds; LiveKit's own default is 100. A caller hears a quarter of a second, and from there on the monitor ticks
20 times a second, its slowest, instead of 50."""
PRELOAD_LOCAL_INFERENCE = "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"


def take_fd(environ: Environ, name: str) -> Descriptor | None:
    """Take the descriptor whose number is in `name`, and remove the variable: no child has that descriptor."""
    text = environ.pop(name, "")
    if not text.isdigit():
        return None
    try:
        mode = os.fstat(int(text)).st_mode
    except OSError:
        return None
    return Descriptor(int(text)) if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else None


def settings(environ: Environ) -> Settings:
    """The settings that the supervisor has put into the environment. Raises ConfigFailure."""
    try:
        return from_environ(environ)
    except ConfigError as exc:
        raise ConfigFailure(str(exc)) from exc


def runtime_dir(environ: Environ) -> Path | None:
    path = environ.get(heartbeat.RUNTIME_DIR)
    return Path(path) if path else None


def check(environ: Environ, settings: Settings, reference: str) -> None:
    """Raise ConfigFailure where MindBot is to run and a key of its providers is missing."""
    if reference != MINDBOT:
        return
    urls = {"OPENAI_API_KEY": settings.voice.openai_base_url, "DEEPGRAM_API_KEY": settings.voice.deepgram_base_url}
    missing = [name for name, url in urls.items() if not (environ.get(name, "").strip() or url)]
    if missing:
        raise ConfigFailure(f"cannot serve MindBot: {' and '.join(missing)} not set")


def prepare(environ: Environ, settings: Settings, reference: str) -> None:
    """Set defaults for LiveKit; what the user has set stays. A second call, as in a forked worker, changes nothing."""
    # LiveKit's monitor ticks in every job process, and those that wait for a call far outnumber the others: for an idle
    # worker that was most of its CPU (docs/performance.md). So it is off until there is a call.
    wanted = environ.get(LOOP_BLOCK_WARN_MS) or _LOOP_BLOCKED
    if wanted != _OFF or LOOP_BLOCK_WARN_MS_IN_CALLS not in environ:
        environ[LOOP_BLOCK_WARN_MS_IN_CALLS] = wanted
    environ[LOOP_BLOCK_WARN_MS] = _OFF
    if reference == MINDBOT and settings.voice.turn_detection != "model":
        # the weights of the end-of-turn model take 240 MiB and would never be used
        environ.setdefault(PRELOAD_LOCAL_INFERENCE, "0")
