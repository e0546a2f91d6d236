"""Writes the stacks of all threads to stderr on SIGUSR2. (faulthandler is C, and works while the loop is blocked.)"""

from __future__ import annotations

import faulthandler
import signal
from typing import TextIO

from mindbot_worker.logging.nonblocking_output import outlet

_kept: list[TextIO] = []


def arm(*signals: signal.Signals) -> None:
    """Dump on `signals` and on fatal errors, to stderr; with a reader that does not read, nothing is written."""
    # faulthandler keeps the descriptor only: the file must stay open for as long as the process lives
    _kept.append(open(outlet(2).private_fd, "w", closefd=False))  # noqa: SIM115
    faulthandler.enable(file=_kept[-1], all_threads=True)
    for number in signals or (signal.SIGUSR2,):
        faulthandler.register(number, file=_kept[-1], all_threads=True, chain=False)
