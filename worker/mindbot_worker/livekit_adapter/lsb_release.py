"""LiveKit's native library runs `lsb_release -a` each time that an agent joins a room, and waits for it.

That is seven programs on Debian (13 ms of CPU of the 60 that joining takes, measured) and a Python program on older
Ubuntus, always with the same answer. So it is asked once, and a script that repeats the answer stands first on PATH.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import MutableMapping
from pathlib import Path

PROGRAM = "lsb_release"
ANSWER, REAL = "MINDBOT_OS_RELEASE", "MINDBOT_LSB_RELEASE"
"""Where the script finds what to say, and whom to ask for anything else."""
SCRIPTS = Path(__file__).with_name("bin")
WITHIN = 5.0
"""Seconds for the real one to answer."""


def remember(environ: MutableMapping[str, str]) -> None:
    """For processes that get this environment. Where there is no lsb_release nothing happens."""
    path = environ.get("PATH", os.defpath)
    folders = path.split(os.pathsep)
    if str(SCRIPTS) in folders:
        return
    if ANSWER not in environ and not _ask(environ, path):
        return
    environ["PATH"] = os.pathsep.join([str(SCRIPTS), *folders])


def _ask(environ: MutableMapping[str, str], path: str) -> bool:
    program = shutil.which(PROGRAM, path=path)
    if program is None or not os.access(SCRIPTS / PROGRAM, os.X_OK):
        return False
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run([program, "-a"], capture_output=True, text=True, errors="replace", timeout=WITHIN)
        if asked.returncode == 0 and asked.stdout.strip():
            environ[ANSWER], environ[REAL] = asked.stdout.strip().replace("\0", ""), program
            return True
    return False
