"""Signals in job processes: a stop is the worker's business, and a dump must not kill."""

from __future__ import annotations

import contextlib
import signal

from mindbot_worker import stacks

_NOT_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_DUMP = (signal.SIGUSR2, signal.SIGUSR1)
"""SIGUSR2 is ours. SIGUSR1 comes from LiveKit half a second before it kills a job; unhandled, it kills at once."""


def settle() -> None:
    """Ignore what is meant for the worker, so that a signal to the whole group or cgroup cuts no call."""
    with contextlib.suppress(ValueError):  # a thread executor: the signals are the worker's own
        for number in _NOT_OURS:
            signal.signal(number, signal.SIG_IGN)
    stacks.arm(*_DUMP)
