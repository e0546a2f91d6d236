"""Other supervisors from PyPI, each in a virtual environment of its own under .tools/peers."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from contest import TOOLS
from contest.command import Skipped, say

PINNED = {
    "supervisord": ("supervisor==4.3.0", "superlance==2.0.0"),
    "circus": ("circus==0.19.0", "psutil==7.2.2", "pyzmq==27.3.0", "tornado==6.6.1"),
}


@cache
def programs(peer: str, folder: Path = TOOLS / "peers") -> Path:
    """The directory with the peer's programs; it is installed where it is not yet."""
    wanted, venv = PINNED[peer], folder / peer
    stamp = venv / ".installed"
    if not stamp.exists() or stamp.read_text() != "\n".join(wanted):
        say(f"installing {', '.join(wanted)} into {venv}")
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
            pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, *wanted], check=True)
        except subprocess.CalledProcessError as exc:
            raise Skipped(f"cannot install {peer}: {exc}") from exc
        stamp.write_text("\n".join(wanted))
    return venv / "bin"
