"""Imports the agent into the template, and tells which of the imported source files have changed since."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from mindbot_worker.livekit_adapter import internals
from mindbot_worker.livekit_adapter.internals import Attribute
from mindbot_worker.logging import setup as output
from mindbot_worker.runtime import (
    agent_loader,
    agent_server,  # noqa: F401 - what a worker will need is imported here
    environment,
    main,  # noqa: F401 - what a worker will need is imported here
)


class SourceFiles:
    """The files of all imported modules, with their times and sizes as they were when this was made."""

    def __init__(self) -> None:
        self._stamps = {path: _stamp(path) for path in _files()}

    def changed(self) -> list[str]:
        """Files that are different now, or gone."""
        return [path for path, stamp in self._stamps.items() if _stamp(path) != stamp]


def _files() -> set[str]:
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {file for file in files if isinstance(file, str)}


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def load(reference: str | None) -> list[str]:
    """Import the agent and return the modules that its server wants preloaded. Raises ConfigFailure."""
    settings = environment.settings(os.environ)
    output.start_in_template(settings.log.level)
    server = agent_loader.prepared(reference or settings.pool.agent, settings)
    return list(internals.get(server, Attribute.PRELOAD_MODULES) or ())


def freeze() -> None:
    """Keep the garbage collector from touching the memory that the workers share: that would copy it."""
    gc.collect()
    gc.freeze()
