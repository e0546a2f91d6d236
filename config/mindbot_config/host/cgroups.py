"""Where the kernel keeps the control groups of a process: cgroup v2, v1, and both side by side.

Only paths and small files: what the numbers mean is in `resource_limits`. Sources: cgroup-v2.rst and cgroup-v1/ of the
kernel's admin guide, cgroup_namespaces(7), proc(5) for mountinfo.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
PROC = Path("/proc")
SIZE = 64 * 1024
"""Bytes of one read; what the kernel gives of these files is less."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted hierarchy: which of its directories is seen at which place."""

    root: str
    place: Path

    def folder(self, cgroup: str) -> Path | None:
        """The directory of a cgroup as /proc/PID/cgroup names it, or None where it is outside the mount."""
        if ".." in cgroup.split("/"):
            return None  # above the root of our cgroup namespace
        if self.root == "/":
            return self.place / cgroup.lstrip("/")
        inside = cgroup.removeprefix(self.root)
        return self.place / inside.lstrip("/") if cgroup.startswith(self.root) else None

    def chain(self, cgroup: str) -> list[Path]:
        """The directory of a cgroup and those above it, up to the mount.

        A container may be told a path that it cannot see; what is mounted there is its own group then.
        """
        known = _chains.get((self, cgroup))
        if known is not None:
            return known
        folder = self.folder(cgroup)
        if folder is None or not folder.is_dir():
            return [self.place]
        above = [parent for parent in folder.parents if parent.is_relative_to(self.place)]
        if len(_chains) >= CHAINS_MAX:
            _chains.clear()
        _chains[self, cgroup] = [folder, *above]
        return [folder, *above]


CHAINS_MAX = 256
_chains: dict[tuple[Mount, str], list[Path]] = {}
"""What was worked out before: it is asked for every other second."""


@dataclass(frozen=True, slots=True)
class Mounts:
    """The hierarchies of this host: v1 by controller ("memory", "cpu"), and v2."""

    v1: dict[str, Mount] = field(default_factory=dict)
    v2: Mount | None = None
    proc: Path = PROC

    @classmethod
    def find(cls, mounts: Path = MOUNTS, proc: Path = PROC) -> Mounts:
        """Read the mount table; no hierarchies where it cannot be read."""
        v1: dict[str, Mount] = {}
        v2: Mount | None = None
        for line in (read(mounts) or b"").decode(errors="replace").splitlines():
            before, _, after = line.partition(" - ")
            fields, kinds = before.split(), after.split()
            if len(fields) < 5 or len(kinds) < 3:
                continue
            mount = Mount(_unescaped(fields[3]), Path(_unescaped(fields[4])))
            if kinds[0] == "cgroup2":
                v2 = v2 or mount
            elif kinds[0] == "cgroup":
                for controller in kinds[2].split(","):
                    v1.setdefault(controller, mount)
        return cls(v1, v2, proc)

    def lines(self, pid: int | str = "self") -> str:
        """The groups of a process as the kernel tells them, a line for each hierarchy; empty for no process."""
        return (read(self.proc / str(pid) / "cgroup") or b"").decode(errors="replace")

    def chains(self, controller: str, lines: str) -> list[tuple[int, list[Path]]]:
        """The directories with a controller's files, from the process's own group upwards; with the version, 1 or 2."""
        found: list[tuple[int, list[Path]]] = []
        for line in lines.splitlines():
            number, _, rest = line.partition(":")
            controllers, _, cgroup = rest.partition(":")
            if controller in controllers.split(",") and controller in self.v1:
                found.insert(0, (1, self.v1[controller].chain(cgroup)))
            elif number == "0" and self.v2 is not None:
                found.append((2, self.v2.chain(cgroup)))
        return found

    def own_v2(self, lines: str) -> Path | None:
        """The directory of the process's own group in the unified hierarchy."""
        found = (line[3:] for line in lines.splitlines() if line.startswith("0::"))
        return next((self.v2.chain(cgroup)[0] for cgroup in found), None) if self.v2 is not None else None

    def shown(self, folder: Path) -> str:
        """A directory as people know it: its path below the mount."""
        for mount in (*self.v1.values(), *([self.v2] if self.v2 is not None else [])):
            if folder.is_relative_to(mount.place):
                return f"/{folder.relative_to(mount.place)}".removesuffix(".")
        return str(folder)


def read(path: Path | str) -> bytes | None:
    """A small file of /proc or /sys; None where there is none or it may not be read.

    Raises OSError where no descriptor is left: then nothing is known.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError, ProcessLookupError, IsADirectoryError):
        return None
    try:
        data = os.read(fd, SIZE)
        while more := os.read(fd, SIZE):  # the kernel gives some of these files in pieces of a page
            data += more
        return data
    except OSError:  # a pressure file where pressure is switched off, a process that has just ended
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


def number_in(path: Path) -> int | None:
    """The whole number that a file consists of; None for "max", and without the file."""
    word = (read(path) or b"").strip()
    return int(word) if word.isdigit() else None


def _unescaped(word: str) -> str:
    """A path of the mount table: the kernel writes a space as \\040."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(code, character)
    return word
