"""Builds the image: settings, the agent with all it imports, and nothing that runs."""

from __future__ import annotations

import gc
import os

from mindbot_config.errors import ConfigError
from mindbot_config.sources import from_environ
from mindbot_worker import agent, environment, program, runner  # noqa: F401 - what a worker will need is imported here
from mindbot_worker.failures import ConfigFailure


def load(reference: str | None) -> list[str]:
    """Import the agent; returns the modules that its server wants preloaded. Raises ConfigFailure."""
    try:
        settings = from_environ(os.environ)
    except ConfigError as exc:
        raise ConfigFailure(str(exc)) from exc
    reference = reference or settings.pool.agent
    agent.check(reference)
    environment.check(os.environ, settings, reference)
    environment.prepare(os.environ, settings, reference)
    server = agent.load(reference)
    return list(getattr(server, "_preload_modules", None) or ())


def settle() -> None:
    """Keep the garbage collector from touching, and so copying, what the children share."""
    gc.collect()
    gc.freeze()
