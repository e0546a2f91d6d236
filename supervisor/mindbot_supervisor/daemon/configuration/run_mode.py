"""Chooses what the pool runs on: LiveKit with the operator's credentials, local stand-ins, or any command."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum

from mindbot_config.credentials import Credentials
from mindbot_config.errors import ConfigError
from mindbot_config.load import Loaded
from mindbot_config.sections.pool import Pool
from mindbot_config.settings import Settings

MINDBOT = Pool().agent
SYNTHETIC_INTERVAL = 10.0
"""Seconds between synthetic calls of one worker, where nobody else could call."""


class Mode(StrEnum):
    """What the pool runs on, as the log and the status name it."""

    LIVEKIT = "livekit"
    LOCAL_LIVEKIT = "local-livekit"
    LOCAL_SYNTHETIC = "local-synthetic"
    COMMAND = "command"

    @property
    def local(self) -> bool:
        return self in (Mode.LOCAL_LIVEKIT, Mode.LOCAL_SYNTHETIC)


def choose(settings: Settings, credentials: Credentials, *, local: bool, server: str | None) -> Mode:
    """The mode for these settings. Raises ConfigError for credentials that cannot work. `server` is where
    livekit-server was found, if it was.
    """
    if settings.pool.command:
        return Mode.COMMAND
    if not local:
        credentials.check()
        if credentials.has_livekit:
            _require_providers(settings, credentials)
            return Mode.LIVEKIT
    return Mode.LOCAL_LIVEKIT if server else Mode.LOCAL_SYNTHETIC


def check(loaded: Loaded, mode: Mode) -> None:
    """Raises ConfigError where new credentials cannot serve the mode that the daemon runs in."""
    if mode is Mode.LIVEKIT:
        credentials = Credentials.from_environ(loaded.environ)
        credentials.check()
        if not credentials.has_livekit:
            raise ConfigError("LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET: must be set, as they were at start")
        _require_providers(loaded.settings, credentials)


def find_server(environ: Mapping[str, str]) -> str | None:
    return shutil.which("livekit-server", path=environ.get("PATH"))


def _require_providers(settings: Settings, credentials: Credentials) -> None:
    """Raise ConfigError where a key of MindBot's providers is missing. What another agent needs, only that agent
    knows.
    """
    if settings.pool.agent != MINDBOT:
        return
    missing = [name for name in ("OPENAI_API_KEY", "DEEPGRAM_API_KEY") if not credentials.get(name)]
    if missing:
        raise ConfigError(f"{' and '.join(missing)}: must be set in the environment or the env file, or use --local")


def explain(mode: Mode, livekit_url: str) -> str:
    """What a mode means, in one line for the log."""
    match mode:
        case Mode.LIVEKIT:
            return "workers register with LiveKit"
        case Mode.LOCAL_LIVEKIT:
            return f"local stand-ins for OpenAI and Deepgram, and a local livekit-server at {livekit_url}"
        case Mode.LOCAL_SYNTHETIC:
            return "local stand-ins for OpenAI and Deepgram; no livekit-server on PATH, so calls are synthetic"
        case Mode.COMMAND:
            return "every slot runs the given command"


def worker_command(settings: Settings) -> Sequence[str]:
    if settings.pool.command:
        return shlex.split(settings.pool.command)
    return [sys.executable, "-P", "-m", "mindbot_worker", "--agent", settings.pool.agent]


def template_agent(settings: Settings) -> str:
    """The agent that a template imports for all workers; empty where each worker is a program of its own."""
    return settings.pool.agent if settings.pool.launcher == "template" and not settings.pool.command else ""


def worker_overrides(mode: Mode, settings: Settings) -> dict[str, str]:
    """Settings that the embedded default brings along, where the operator has not chosen."""
    if mode is not Mode.LOCAL_SYNTHETIC:
        return {}
    interval = settings.worker.synthetic_interval or SYNTHETIC_INTERVAL
    return {"MINDBOT_WORKER__REGISTERED": "false", "MINDBOT_WORKER__SYNTHETIC_INTERVAL": str(interval)}
