"""Children that do not outlive this process, whatever ends it."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None]:
    """For `preexec_fn`: the kernel kills the child when the thread that started it ends, so start it from the main one.

    Everything is looked up before the fork. The parent may have died before the child set this: then nobody is
    left to send the signal, and the child sees another parent.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def in_child() -> None:
        if prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(127)

    return in_child
