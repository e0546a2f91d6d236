"""Where the kernel keeps a process's memory counters: cgroup v2, v1 and both side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from . import procfile

MOUNTS = Path("/proc/self/mountinfo")
V2_FILE, V1_FILE = "memory.events", "memory.oom_control"
"""Files with a line `oom_kill N`: cgroup-v2.rst, and memcg_test.txt of cgroup-v1 (since Linux 4.13)."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted hierarchy: which of its directories is seen at which place."""

    root: str
    place: Path

    def folder(self, cgroup: str) -> Path | None:
        """The directory of a cgroup as /proc/PID/cgroup names it, or None where it is outside the mount."""
        if self.root == "/":
            return self.place / cgroup.lstrip("/")
        inside = cgroup.removeprefix(self.root)
        return self.place / inside.lstrip("/") if cgroup.startswith(self.root) else None


@dataclass(slots=True)
class Cgroups:
    """The memory controllers of this host, found once."""

    v1: Mount | None = None
    v2: Mount | None = None
    proc: Path = field(default=Path("/proc"))

    @classmethod
    def find(cls, mounts: Path = MOUNTS) -> Cgroups:
        found = cls()
        try:
            lines = mounts.read_text().splitlines()
        except OSError:
            return found
        for line in lines:
            before, _, after = line.partition(" - ")
            fields, (kind, _, options) = before.split(), after.split(maxsplit=2)
            if kind == "cgroup2":
                found.v2 = Mount(fields[3], Path(fields[4]))
            elif kind == "cgroup" and "memory" in options.split(","):
                found.v1 = Mount(fields[3], Path(fields[4]))
        return found

    def oom_file(self, pid: int) -> Path | None:
        """The file that counts the OOM kills in the process's own cgroup; None where its cgroup keeps no count."""
        return self.oom_file_in(self.of(pid))

    def of(self, pid: int) -> str:
        """The cgroups of a process as the kernel tells them, a line for each hierarchy; empty for no process."""
        data = procfile.read(f"{self.proc}/{pid}/cgroup")
        return data.decode(errors="replace") if data is not None else ""

    def oom_file_in(self, lines: str) -> Path | None:
        """As `oom_file`, for all processes that are in these cgroups."""
        for mount, cgroup, name in self._places(lines):
            folder = mount.folder(cgroup) if mount is not None else None
            if folder is not None and (folder / name).exists():
                return folder / name
        return None

    def _places(self, lines: str) -> list[tuple[Mount | None, str, str]]:
        places: list[tuple[Mount | None, str, str]] = []
        for line in lines.splitlines():
            number, controllers, cgroup = line.split(":", 2)
            if "memory" in controllers.split(","):
                places.insert(0, (self.v1, cgroup, V1_FILE))
            elif number == "0":
                places.append((self.v2, cgroup, V2_FILE))
        return places


def number_after(path: Path, word: str) -> int | None:
    """The number on the line `word N` of a file of such lines; None without the file or the line."""
    data = procfile.read(path)
    return procfile.number_after(data, f"{word} ".encode()) if data is not None else None
