"""Builds the image: settings, the agent with all it imports, and nothing that runs."""

from __future__ import annotations

import gc
import os

from mindbot_worker import agent, environment, program, runner  # noqa: F401 - what a worker will need is imported here
from mindbot_worker import livekit_internals as internals


def load(reference: str | None) -> list[str]:
    """Import the agent; returns the modules that its server wants preloaded. Raises ConfigFailure."""
    settings = environment.settings(os.environ)
    server = agent.prepared(reference or settings.pool.agent, settings)
    return list(internals.get(server, "preload_modules") or ())


def settle() -> None:
    """Keep the garbage collector from touching, and so copying, what the children share."""
    gc.collect()
    gc.freeze()
