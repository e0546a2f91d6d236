"""What LiveKit logs at every start of a worker and a job process: true, but nothing an operator reads each time."""

from __future__ import annotations

import logging

_LIVEKIT = "livekit.agents"
_ROUTINE = (
    "starting worker",
    "plugin registered",
    "preloading plugins",
    "HTTP server listening on",
    "initializing process",
    "process initialized",
    "process exiting",
    "draining worker",
    "shutting down worker",
    "adaptive interruption is disabled by default",
    "RoomIO linked to participant",
)
"""How these records of livekit-agents 1.8.9 begin."""
_DEV_SECRET = "InsecureKeyLengthWarning"  # noqa: S105
"""PyJWT's warning about the six letters that `livekit-server --dev` uses as its secret."""


def level(record: logging.LogRecord) -> int:
    """The level a record is written at: DEBUG for routine."""
    if record.levelno == logging.INFO and record.name == _LIVEKIT and str(record.msg).startswith(_ROUTINE):
        return logging.DEBUG
    if record.name == "py.warnings" and _DEV_SECRET in record.getMessage():
        return logging.DEBUG
    return record.levelno
