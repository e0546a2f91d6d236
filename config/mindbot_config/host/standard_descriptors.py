"""What every program of ours does first: see that stdin, stdout and stderr are there.

Standard library only, and little of it: it comes before everything else.
"""

from __future__ import annotations

import os
import sys


def open_standard() -> None:
    """Open /dev/null as each of stdin, stdout and stderr that was closed when this process was started.

    To be called before anything else is opened: else a lock, a socket or a pipe becomes descriptor 0, 1 or 2, and
    whatever is printed goes into it.
    """
    for number in range(3):
        if not is_open(number):
            open_null(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def open_null(number: int) -> None:
    """Open /dev/null as this descriptor, which children inherit."""
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    os.set_inheritable(number, True)
