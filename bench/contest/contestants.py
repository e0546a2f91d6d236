"""A supervisor with its workers, run for a bench: what all of them have in common, and the bare one."""

from __future__ import annotations

import os
import subprocess
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from contest import processes, programs
from contest.programs import Program
from contest.report import PLAIN

FOREIGN = ("MINDBOT_", "LIVEKIT_", "OPENAI_", "DEEPGRAM_")
"""Prefixes of variables that must not reach the contestants from whoever runs the bench."""


class Contestant:
    """Use as a context manager: entering it starts the supervisor, leaving it ends everything that it started."""

    key = ""
    label = ""

    def __init__(self, program: Program, count: int) -> None:
        self.program, self.count = program, count
        self.token = uuid.uuid4().hex
        self._folder = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self.root = 0
        programs.place(program, self.folder)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._folder.cleanup()

    def command(self) -> list[str]:
        """The words that start the supervisor, its configuration written to `folder` before."""
        raise NotImplementedError

    def start(self) -> None:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self.environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.root = self._process.pid

    def end(self) -> None:
        """The supervisor first, or it would start its workers again; then all that is left. Twice does no harm."""
        self.stop()
        processes.end(self.token)

    def stop(self) -> None:
        """Kill the supervisor."""
        if self.root:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> Path:
        return self.folder / "output.log"

    def environ(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        return {**clean, **self.program.environ, processes.TOKEN: self.token}

    def workers(self) -> list[int]:
        """Pids of the workers themselves, without what they started."""
        children = [child.pid for child in psutil.Process(self.root).children()]
        return [pid for pid in children if processes.words(pid) == self.program.words]

    def tree(self) -> list[int]:
        return processes.marked(self.token)

    def keepers(self) -> list[int]:
        """The supervisor with its helpers: all but the workers. Only for workers that start nothing themselves."""
        return [pid for pid in self.tree() if processes.words(pid) != self.program.words]


class Bare(Contestant):
    """The program itself, with fork, exec and waitpid around it."""

    key, label = PLAIN, "plain"

    def command(self) -> list[str]:
        return [str(programs.compiled("bare")), str(self.count), *self.program.words]
