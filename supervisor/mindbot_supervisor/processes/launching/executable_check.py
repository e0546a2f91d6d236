"""Says in words why the kernel would not run a program: missing, not executable, a script without interpreter.

The kernel says "No such file or directory" for a script that is there and whose interpreter is not, and for a program
whose loader is missing. Read from execve(2), fs/binfmt_script.c and fs/binfmt_elf.c.
"""

from __future__ import annotations

import os
import shlex
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from mindbot_config.host.descriptors import Descriptor

HEAD = 256
"""Bytes of a script that the kernel looks at (BINPRM_BUF_SIZE)."""
NESTED = 4
"""Scripts whose interpreter is a script, one in the other, at most."""
BINFMT = Path("/proc/sys/fs/binfmt_misc")
PT_INTERP = 3
RUNS_TOO = {62: {3}, 183: {40}}
"""By ELF machine: x86-64 also runs i386, and AArch64 also Arm."""


def problem(command: Sequence[str], environ: Mapping[str, str]) -> str:
    """Why this command cannot be run with this environment; empty if nothing speaks against it."""
    program = command[0]
    if any("\0" in word for word in command):
        return "it contains a NUL character"
    if "/" in program:
        return _of(Path(program), environ) if _is_there(Path(program)) else f"there is no {program}{_where(program)}"
    found = [folder / program for folder in _path(environ) if _is_there(folder / program)]
    if not found:
        return f"there is no program {program!r} on PATH ({environ.get('PATH', os.defpath)})"
    problems = [_of(path, environ) for path in found]  # the kernel is asked for one after the other
    return "" if "" in problems else problems[0]


def _path(environ: Mapping[str, str]) -> list[Path]:
    return [Path(folder) for folder in os.get_exec_path(dict(environ))]


def _where(program: str) -> str:
    return "" if program.startswith("/") else f" in {Path.cwd()}"


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _of(path: Path, environ: Mapping[str, str], nested: int = 0) -> str:
    try:
        found = path.stat()
    except OSError as exc:
        return f"{path} cannot be reached: {os.strerror(exc.errno or 0)}"
    if not stat.S_ISREG(found.st_mode):
        return f"{path} is {'a directory' if stat.S_ISDIR(found.st_mode) else 'no regular file'}"
    if not os.access(path, os.X_OK, effective_ids=True):
        if found.st_mode & 0o111 and os.statvfs(path).f_flag & os.ST_NOEXEC:
            return f"{path} is on a file system that is mounted noexec"
        return f"{path} is not executable for this user (chmod +x)"
    try:
        with Descriptor(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as file:
            return _content(path, file, environ, nested)
    except OSError:
        return ""  # one that may be run and not read


def _content(path: Path, file: Descriptor, environ: Mapping[str, str], nested: int) -> str:
    head = os.pread(file.fileno(), HEAD, 0)
    if head.startswith(b"#!"):
        return _script(path, head[2:].split(b"\n")[0], environ, nested)
    if head.startswith(b"\x7fELF"):
        return _elf(path, file, head)
    if _other_formats():
        return ""
    return f"{path} is neither a program nor a script with an interpreter in its first line (#!/bin/sh, for example)"


def _script(path: Path, line: bytes, environ: Mapping[str, str], nested: int) -> str:
    if line.endswith(b"\r"):
        return f"{path} is a script with Windows line ends, at which no interpreter is found (sed -i 's/\\r$//' {path})"
    words = line.decode(errors="replace").strip(" \t").split(maxsplit=1)
    if not words:
        return f"{path} is a script that names no interpreter after #!"
    interpreter = Path(words[0])
    if not _is_there(interpreter):
        return f"{path} is a script whose interpreter {interpreter} does not exist"
    why = _of(interpreter, environ, nested + 1) if nested < NESTED else "it is a script in a script, too deep"
    if why:
        return f"{path} is a script whose interpreter cannot be run: {why}"
    wanted = _found_by_env(words[1]) if interpreter.name == "env" and len(words) > 1 else ""
    if wanted and "/" not in wanted and not any(os.access(folder / wanted, os.X_OK) for folder in _path(environ)):
        return f"{path} is a script whose interpreter {wanted!r} is not on PATH ({environ.get('PATH', os.defpath)})"
    return ""


def _found_by_env(argument: str) -> str:
    """The program that `env` looks for: the kernel gives it the rest of the line as one word."""
    if not argument.startswith("-S"):
        return "" if argument.startswith("-") or "=" in argument else argument
    try:
        words = shlex.split(argument.removeprefix("-S"))
    except ValueError:
        return ""
    return next((word for word in words if not word.startswith("-") and "=" not in word), "")


def _elf(path: Path, file: Descriptor, head: bytes) -> str:
    """Whether it is for this kind of machine, and its loader is there."""
    try:
        wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
        (machine,) = struct.unpack_from(order + "H", head, 18)
        start, size, count = _program_headers(head, order, wide=wide)
    except (struct.error, IndexError):
        return f"{path} is the beginning of a program and no more"
    own = _own_machine()
    if own and machine != own and machine not in RUNS_TOO.get(own, set()) and not _other_formats():
        return f"{path} is a program for another kind of machine"
    loader = _loader(file, order, start, size, min(count, 128), wide=wide)
    if loader and not _is_there(Path(loader)):
        return f"{path} is a program whose loader {loader} does not exist: it was built for another system"
    return ""


def _program_headers(head: bytes, order: str, *, wide: bool) -> tuple[int, int, int]:
    """Offset, size of each, and number."""
    (start,) = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)
    size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
    return start, size, count


def _loader(file: Descriptor, order: str, start: int, size: int, count: int, *, wide: bool) -> str:
    for number in range(count):
        header = os.pread(file.fileno(), size, start + number * size)
        try:
            (kind,) = struct.unpack_from(order + "I", header)
            if kind == PT_INTERP:
                layout = (order + "Q", 8, 32) if wide else (order + "I", 4, 16)
                (offset,), (length,) = (struct.unpack_from(layout[0], header, at) for at in layout[1:])
                return os.pread(file.fileno(), min(length, 4096), offset).split(b"\0")[0].decode(errors="replace")
        except struct.error:
            return ""
    return ""


def _own_machine() -> int:
    try:
        with Descriptor(os.open("/proc/self/exe", os.O_RDONLY | os.O_CLOEXEC)) as file:
            head = os.pread(file.fileno(), 20, 0)
            return int(struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)[0])
    except (OSError, struct.error, IndexError):
        return 0


def _other_formats() -> bool:
    """Whether this kernel was told of further kinds of programs (binfmt_misc): which, only it knows."""
    try:
        return any(entry.name not in ("register", "status") for entry in BINFMT.iterdir())
    except OSError:
        return False
