"""Reads files by name without ever hanging on one: regular files only, bounded in size and in time.

`read_regular` is what the daemon, its commands and the workers read files with that somebody else may have put there.
A pipe, a device or a directory in a file's place is refused before it is opened; a file system that does not answer is
given up after `within` seconds; and a file that never ends is refused at its limit.
"""

from __future__ import annotations

import errno
import os
import queue
import re
import select
import stat
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mindbot_config.errors import ConfigError

MIB = 1024 * 1024
LIMIT = MIB
"""Bytes of a file, where the caller names no other limit."""
WITHIN = 3.0
"""Seconds in which a file must have been read."""

AT_ONE_TIME = 32
"""Functions that `bounded` runs, those included that hang: when a server is dead, threads must not pile up."""

_slots = threading.BoundedSemaphore(AT_ONE_TIME)
_RETRY = 0.02
"""Seconds between two attempts to open a file that another program holds by a lease."""
_GIVEN_DOWN = re.compile(r"/dev/(stdin|fd/\d+)|/proc/self/fd/\d+")
"""Descriptors that the caller gave us: the one place where a pipe is wanted (`--config <(command)` of a shell)."""
_NULL = os.makedev(1, 3)
_KINDS = {
    stat.S_IFIFO: "it is a named pipe",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
}

Result = TypeVar("Result")


class Unreadable(OSError):
    """A file that is not read, although the system might allow it; `strerror` says why, in plain words."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EINVAL, why)


class Contents(NamedTuple):
    """What was read, and the file's mode, owner and times at that moment."""

    data: bytes
    status: os.stat_result


def read_regular(
    path: str | os.PathLike[str], *, limit: int = LIMIT, within: float | None = WITHIN, ours: bool = False
) -> Contents:
    """The contents of a regular file; raises OSError, whose `strerror` is for people.

    `within` is in seconds; None reads in the calling thread, for small files of our own in the runtime directory.
    `ours`: refuse a symbolic link, and a file of another user.
    """
    if within is None:
        return _read(os.fspath(path), limit, time.monotonic() + WITHIN, ours)
    return bounded(partial(_read, os.fspath(path), limit, time.monotonic() + within, ours), within)


def bounded(function: Callable[[], Result], within: float) -> Result:
    """What the function returns or raises; Unreadable where that takes longer than `within` seconds.

    It runs in a thread of its own, which is left behind if it hangs: nothing else can end a read from a dead server.
    """
    box: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
    in_thread(function, lambda result, problem: box.put((result, problem)))
    try:
        result, problem = box.get(timeout=within)
    except queue.Empty:
        raise Unreadable(f"no answer within {within:g} s") from None
    if problem is not None:
        raise problem
    return result  # type: ignore[no-any-return]


def in_thread(function: Callable[[], Any], done: Callable[[Any, BaseException | None], None]) -> None:
    """Start the function in a thread that keeps no process alive; it tells `done` its result or its exception.

    Raises Unreadable where too many such threads hang already.
    """

    def run() -> None:
        try:
            result, problem = function(), None
        except BaseException as exc:
            result, problem = None, exc
        _slots.release()
        done(result, problem)

    if not _slots.acquire(blocking=False):
        raise Unreadable(f"{AT_ONE_TIME} earlier reads have had no answer yet")
    threading.Thread(target=run, name="read-file", daemon=True).start()


def read_text(label: str, path: Path, *, within: float = WITHIN) -> str:
    """The text of a UTF-8 file, without its byte order mark. Raises ConfigError, which begins with `label`."""
    return decode(label, contents(label, path, within=within).data)


def contents(label: str, path: Path, *, within: float = WITHIN) -> Contents:
    """`read_regular`, but a problem is a ConfigError that begins with `label`."""
    try:
        return read_regular(path, within=within)
    except OSError as problem:
        raise ConfigError(f"{label}: cannot be read: {problem.strerror}") from problem
    except ValueError:
        raise ConfigError(f"{label}: must be the path of a file") from None


def decode(label: str, data: bytes) -> str:
    """UTF-8 text, without a byte order mark. Raises ConfigError with the line that is none."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{label}: must be UTF-8 text, and is UTF-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise ConfigError(f"{label}, line {line}: must be UTF-8 text") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError with the file, and with line and column where there are any."""
    import tomllib

    label = f"file {path}"
    text = read_text(label, path)
    try:
        return tomllib.loads(text)
    except ValueError as problem:
        what, at, where = str(problem).removesuffix(")").partition(" (at ")
        if not at:
            raise ConfigError(f"{label}: cannot be read as TOML: a number is too long") from None
        raise ConfigError(f"{label}, {where}: cannot be read as TOML: {what[:1].lower()}{what[1:]}") from None
    except RecursionError:
        raise ConfigError(f"{label}: cannot be read as TOML: nested too deeply") from None


def _read(path: str, limit: int, until: float, ours: bool) -> Contents:
    pipe_allowed = _GIVEN_DOWN.fullmatch(path) is not None
    _check(os.stat(path, follow_symlinks=not ours), pipe_allowed, ours)  # noqa: PTH116
    fd = _open(path, until, ours)
    try:
        status = os.fstat(fd)  # of what was opened: the name may mean something else by now
        _check(status, pipe_allowed, ours)
        if status.st_rdev == _NULL and stat.S_ISCHR(status.st_mode):
            return Contents(b"", status)
        data = _read_all(fd, limit, until)
    finally:
        os.close(fd)
    if pipe_allowed and stat.S_ISFIFO(status.st_mode) and not data:
        raise Unreadable("the pipe is empty; it can be read only once")
    return Contents(data, status)


def _check(status: os.stat_result, pipe_allowed: bool, ours: bool) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if ours and (kind == stat.S_IFLNK or status.st_uid != os.geteuid()):
        raise Unreadable("it is not a file of ours")
    null = kind == stat.S_IFCHR and status.st_rdev == _NULL
    if kind != stat.S_IFREG and not null and not (kind == stat.S_IFIFO and pipe_allowed):
        raise Unreadable(f"{_KINDS.get(kind, 'it is something else')}, not a regular file")


def _open(path: str, until: float, ours: bool) -> int:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (os.O_NOFOLLOW if ours else 0)
    while True:
        try:
            return os.open(path, flags)
        except BlockingIOError:  # a lease (fcntl F_SETLEASE), which the kernel now asks its holder to give up
            if time.monotonic() + _RETRY > until:
                raise Unreadable("another program holds it") from None
            time.sleep(_RETRY)


def _read_all(fd: int, limit: int, until: float) -> bytes:
    parts: list[bytes] = []
    left = limit + 1
    while left > 0:
        try:
            part = os.read(fd, min(left, MIB))
        except BlockingIOError:
            rest = until - time.monotonic()
            if rest <= 0 or not select.select([fd], [], [], rest)[0]:
                raise Unreadable("it does not come to its end") from None
            continue
        if not part:
            return b"".join(parts)
        parts.append(part)
        left -= len(part)
        if time.monotonic() > until:
            raise Unreadable("it does not come to its end")
    raise Unreadable(f"it is larger than {limit // MIB} MiB" if limit >= MIB else f"it is larger than {limit} bytes")
