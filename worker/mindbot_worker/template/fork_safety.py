"""Whether this process may be forked: a thread, or an event loop, would be half alive in the child.

Imported before LiveKit and numpy: what SINGLE_THREADED says has to be in the environment when these are imported.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

KNOWN_PYTHONS = ((3, 11), (3, 12), (3, 13))
"""Versions whose multiprocessing.forkserver was read, and fits `jobserver`."""

SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
"""numpy's OpenBLAS and onnxruntime start a thread each when they are imported, unless they are told not to."""


def why_not() -> str:
    """Why forking is unsafe here, in words for an operator; empty if nothing speaks against it."""
    if sys.version_info[:2] not in KNOWN_PYTHONS:
        return f"Python {sys.version_info.major}.{sys.version_info.minor} is not known to fork safely here"
    return _threads() or _event_loops()


def _threads() -> str:
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others:
        return f"importing the agent starts a thread ({', '.join(others[:3])})"
    alive = len(list(Path("/proc/self/task").iterdir()))
    if alive > 1:
        return f"importing the agent starts {alive - 1} thread(s) of a native library"
    return ""


def _event_loops() -> str:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target == "anon_inode:[eventpoll]":
            return "importing the agent starts an event loop"
    return ""
