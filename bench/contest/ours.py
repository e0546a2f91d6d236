"""mindbot-supervisor itself, under each launcher that this version has."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from functools import cache

from contest import processes
from contest.contestants import FOREIGN, Contestant
from contest.programs import Program
from contest.report import EXEC, OURS
from functional.daemon import Daemon

LAUNCHER = "MINDBOT_POOL__LAUNCHER"


class Ours(Contestant):
    """Settings are MINDBOT_* names without the prefix; the launcher counts for agents only."""

    key, label = OURS, "mindbot-supervisor"
    launcher = "template"

    def __init__(self, program: Program, count: int, **settings: object) -> None:
        super().__init__(program, count)
        self.settings = {f"MINDBOT_{name}": str(value) for name, value in settings.items()}

    def start(self) -> None:
        what = ["--agent", self.program.agent] if self.program.agent else ["--command", shlex.join(self.program.words)]
        environ = {**self.program.environ, processes.TOKEN: self.token, **self.settings}
        if self.program.agent and launchers():
            environ[LAUNCHER] = self.launcher
        self.daemon = Daemon(self.folder, "--workers", str(self.count), *what, environ=environ)
        self.root = self.daemon.process.pid

    def stop(self) -> None:
        if self.root:
            self.daemon.__exit__()

    def workers(self) -> list[int]:
        return [int(row["pid"]) for row in self.daemon.status()["workers"] if row["pid"]]


class OursExec(Ours):
    key, label = EXEC, 'mindbot-supervisor, launcher = "exec"'
    launcher = "exec"


def contestants() -> list[type[Ours]]:
    """A version without the setting has one launcher, which executes."""
    return [Ours, OursExec] if launchers() else [Ours]


@cache
def launchers() -> bool:
    """Whether this version can choose its launcher: ask it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    check = [sys.executable, "-m", "mindbot_supervisor", "config", "check"]
    asked = subprocess.run(check, env={**clean, LAUNCHER: "template"}, capture_output=True, text=True, check=False)
    return asked.returncode == 0
