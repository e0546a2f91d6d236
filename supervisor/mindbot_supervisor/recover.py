"""Whether calls are recovered, and through which LiveKit: put together from the settings and the credentials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mindbot_config import resource_limits
from mindbot_config.credentials import Credentials
from mindbot_config.settings import Settings
from mindbot_worker import wire

from .core.answers import Terms
from .runtime.engine import Engine
from .runtime.livekit_api import LiveKitApi
from .runtime.rescue import Rescuer

REQUEST_TIMEOUT = 2.0
"""Seconds for one request to LiveKit; it answers in milliseconds, and a dead server must not use up the deadline."""


def follow(engine: Engine, settings: Settings, environ: Mapping[str, str], runtime_dir: Path) -> None:
    """Recover calls by these settings from now on. `environ` is what the workers get."""
    credentials, wanted = Credentials.from_environ(environ), settings.recovery
    if not wanted.enabled or not credentials.has_livekit or not settings.worker.registered:
        engine.recoveries.employ(None)
        engine.pool.recover_by(None)
        return
    key, secret = credentials.livekit_api_key, credentials.livekit_api_secret
    api = LiveKitApi(credentials.livekit_url, key, secret, timeout=min(REQUEST_TIMEOUT, wanted.deadline))
    engine.recoveries.employ(Rescuer(api, runtime_dir / wire.JOURNALS, settings.pool.agent_name))
    engine.pool.recover_by(Terms(wanted.attempts, wanted.deadline, at_once=moves_at_once()))


def moves_at_once() -> int:
    """One for two cores: while the new agent comes in, the old one takes about as much CPU to leave."""
    return max(resource_limits.cpus().whole // 2, 1)
