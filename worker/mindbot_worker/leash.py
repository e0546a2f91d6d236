"""The read end of the leash pipe: its end of file means that the supervisor is gone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

REASON = "the supervisor is gone"


def watch(fd: int | None, gone: Callable[[str], None]) -> None:
    """Call `gone` from a thread of its own when the leash ends; a thread also notices while agents are imported."""
    if fd is None:
        return
    os.set_inheritable(fd, False)
    os.set_blocking(fd, True)
    threading.Thread(target=_read_to_end, args=(fd, gone), name="mindbot-leash", daemon=True).start()


def _read_to_end(fd: int, gone: Callable[[str], None]) -> None:
    try:
        while os.read(fd, 4096):
            continue
    except OSError:
        return  # not a pipe at all: then nobody holds the other end of it
    gone(REASON)
