"""Errors that say that the host, or a limit of it, has nothing left: no fault of whoever asked for it.

Standard library only: the supervisor, the template and the workers share this module.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

EXIT_CODE = 71
"""Exit code of a worker that could not start for such an error (sysexits.h, EX_OSERR: "cannot fork")."""

_MEANINGS = {
    errno.EMFILE: "the limit of open files of one process (ulimit -n) is reached",
    errno.ENFILE: "the limit of open files of the host (fs.file-max) is reached",
    errno.EAGAIN: "a limit of processes and threads (ulimit -u, or pids.max of the cgroup) is reached",
    errno.ENOMEM: "there is no memory for it",
    errno.ENOBUFS: "the kernel has no buffer for it",
    errno.ETOOMANYREFS: "too many descriptors are on their way between processes",
}
_NO_THREAD = "can't start new thread"
"""What Python makes of EAGAIN when it starts a thread (RuntimeError)."""


def is_one(exc: BaseException) -> bool:
    """Whether `exc` itself is such an error."""
    if isinstance(exc, OSError):
        return exc.errno in _MEANINGS
    return isinstance(exc, MemoryError) or (isinstance(exc, RuntimeError) and _NO_THREAD in str(exc))


def behind(exc: BaseException) -> BaseException | None:
    """The first such error among `exc` and what led to it, or None."""
    return next((each for each in _chain(exc) if is_one(each)), None)


def explain(exc: BaseException) -> str:
    """What is short, in words for an operator."""
    if isinstance(exc, OSError):
        said = os.strerror(exc.errno or 0)
        meaning = _MEANINGS.get(exc.errno or 0)
        return f"{said}: {meaning}" if meaning else said
    return "Cannot allocate memory" if isinstance(exc, MemoryError) else f"{_MEANINGS[errno.EAGAIN]} ({exc})"


def _chain(exc: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = exc
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__
