"""The log file: a regular file at a path, made again when it was moved, removed or replaced."""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from pathlib import Path

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_FILE_MODE, _FOLDER_MODE = 0o640, 0o750
_REASONS = {errno.ELOOP: "it is a link", errno.ENXIO: "it is not a regular file"}
"""What the kernel says of a link that is not followed, and of a FIFO that nobody reads."""


class LogFile:
    """Owns its descriptor as an object, so that a number that was closed is never used again.

    The constructor raises OSError where the file cannot be opened; its folder must be there at that time. With `later`
    it opens nothing: the first write does.
    """

    def __init__(self, path: Path, *, later: bool = False) -> None:
        self._path = path
        self._file: FileIO | None = None if later else _open(path)

    def prepare(self) -> bool:
        """Before each write: see to the file at the path. True if it is another one than before. Raises OSError."""
        before = self._file
        self._file = self._current()
        return self._file is not before

    def write(self, data: bytes) -> int:
        """Append; returns how many bytes were taken. Raises OSError."""
        if self._file is None:
            raise FileNotFoundError(errno.ENOENT, "it is not open", str(self._path))
        return self._file.write(data) or 0

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _current(self) -> FileIO:
        """The file at the path. One that was only renamed, as by logrotate, is used until there is another."""
        file = self._file
        if file is not None and self._is_at_path(file):
            return file
        try:
            fresh = _open_or_make(self._path)
        except OSError:
            if file is not None and os.fstat(file.fileno()).st_nlink:
                return file
            self.close()
            raise
        self.close()
        return fresh

    def _is_at_path(self, file: FileIO) -> bool:
        try:
            there, here = self._path.lstat(), os.fstat(file.fileno())
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _open_or_make(path: Path) -> FileIO:
    """Its folder is made again too, where it is gone."""
    try:
        return _open(path)
    except FileNotFoundError:
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        return _open(path)


def _open(path: Path) -> FileIO:
    """Never through a link, never anything but a regular file, and without waiting. Raises OSError."""
    try:
        fd = os.open(path, _FLAGS, _FILE_MODE)
    except OSError as exc:
        raise OSError(exc.errno, _REASONS.get(exc.errno or 0, exc.strerror), str(path)) from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, _REASONS[errno.ENXIO], str(path))
    return FileIO(fd, "wb")
