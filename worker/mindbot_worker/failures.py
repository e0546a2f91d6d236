"""Why a worker ends, and the exit code that says so (contract, Exit codes)."""

from __future__ import annotations

from mindbot_worker import shortage

EX_OK = 0
EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
EX_CONFIG = 78


class WorkerFailure(Exception):
    """The worker cannot go on; the message is the one plain line that its user sees."""

    code = EX_SOFTWARE


class ConfigFailure(WorkerFailure):
    """Something the user has to put right: settings, credentials, or the agent itself."""

    code = EX_CONFIG


class RanShort(WorkerFailure):
    """The host had nothing left of something that the worker needs to start: no fault of its user, nor its own."""

    code = shortage.EXIT_CODE


class Unreachable(WorkerFailure):
    """LiveKit could not be reached, for good."""

    code = EX_UNAVAILABLE
