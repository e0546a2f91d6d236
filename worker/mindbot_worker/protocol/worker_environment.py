"""Names that supervisor and workers agree on: environment variables, process names, and journals of calls."""

from __future__ import annotations

import hashlib

HEARTBEAT_FD = "MINDBOT_HEARTBEAT_FD"
LEASH_FD = "MINDBOT_LEASH_FD"
WORKER_NAME = "MINDBOT_WORKER_NAME"
SLOT = "MINDBOT_SLOT"
RUNTIME_DIR = "MINDBOT_RUNTIME_DIR"

JOURNALS = "calls"
"""The folder in the runtime directory that holds a journal of each live call."""
JOURNAL, RECOVERS = "mindbot.journal", "mindbot.recovers"
"""Attributes of a dispatch that continues a call: the name of its journal, and the job that it continues."""
AFTER = "mindbot.after"
"""Attribute of a dispatch that takes a call over from a living agent: the identity of that agent in the room.

The new agent waits until the old one is out of the room and the journal has the name in JOURNAL."""

_PROCESS = "mb "


def process_name(worker: str, role: str = "") -> str:
    """The process name (`/proc/PID/comm`) of a worker or of one of its jobs; the kernel keeps 15 characters."""
    return f"{_PROCESS}{worker} {role}".strip()


def journal_name(room: str, job: str) -> str:
    """The file name of a call's journal. Rooms are named by anybody, so no part of a name gets into a path."""
    return hashlib.sha256(f"{room}\0{job}".encode(errors="replace")).hexdigest()[:32]


def is_journal_name(name: str) -> bool:
    """Whether `journal_name` could have made this name."""
    return len(name) == 32 and set(name) <= set("0123456789abcdef")
