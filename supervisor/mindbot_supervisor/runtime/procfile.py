"""Reads small files of /proc and /sys with as few calls as can be: the sampler reads many of them every second."""

from __future__ import annotations

import os
from pathlib import Path

SIZE = 64 * 1024


def read(path: str | Path) -> bytes | None:
    """The whole file; None where there is none or it may not be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(fd, SIZE)
        while more := os.read(fd, SIZE):  # the kernel gives some of these files in pieces of a page
            data += more
        return data
    except OSError:
        return None
    finally:
        os.close(fd)


def word_after(data: bytes, label: bytes) -> bytes | None:
    """The word that follows `label` at the beginning of a line, such as 3 in `oom_kill 3`; None where there is none."""
    if not data.startswith(label):
        at = data.find(b"\n" + label)
        if at < 0:
            return None
        data = data[at + 1 :]
    words = data[len(label) : data.find(b"\n") if b"\n" in data else None].split(None, 1)
    return words[0] if words else None


def number_after(data: bytes, label: bytes) -> int | None:
    """As `word_after`, for whole numbers."""
    word = word_after(data, label)
    return int(word) if word is not None and word.isdigit() else None
