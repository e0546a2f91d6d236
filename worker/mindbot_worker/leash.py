"""The read end of the leash pipe: its end of file means that the supervisor is gone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from mindbot_worker.descriptors import Descriptor

REASON = "the supervisor is gone"


def watch(leash: Descriptor | None, gone: Callable[[str], None]) -> None:
    """Call `gone` from a thread of its own when the leash ends; a thread also notices while agents are imported."""
    if leash is None:
        return
    os.set_inheritable(leash.fileno(), False)
    os.set_blocking(leash.fileno(), True)
    threading.Thread(target=_read_to_end, args=(leash, gone), name="mindbot-leash", daemon=True).start()


def _read_to_end(leash: Descriptor, gone: Callable[[str], None]) -> None:
    with leash:
        try:
            while leash.read(4096):
                continue
        except OSError:
            return  # not a pipe at all: then nobody holds the other end of it
    gone(REASON)
