"""A template with what it was built for, and the workers that it was asked to fork and has not forked yet."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from mindbot_supervisor.core.model import Ref
from mindbot_worker import wire_template

from .child import Pipes
from .launch import Launch
from .template import Template

FORK_TIMEOUT = 20.0
"""Seconds for a fork, which takes 0.04; a template that does not answer is killed and built anew."""


@dataclass(slots=True)
class Image:
    template: Template
    launch: Launch
    began: float = field(default_factory=time.monotonic)
    ready: bool = False
    stale: bool = False
    """The code on disk is no longer what it has imported."""
    _asked: dict[Ref, tuple[Pipes, asyncio.TimerHandle]] = field(default_factory=dict)

    def fits(self, launch: Launch) -> bool:
        return self.launch == launch and not self.stale

    def age(self) -> float:
        return time.monotonic() - self.began

    def fork(self, ref: Ref) -> None:
        """Ask for a worker. Raises OSError where no pipe can be opened, or the template cannot be asked."""
        pipes = Pipes.open()
        request = {"say": wire_template.FORK, "worker": str(ref), "environ": self.launch.own_environ(ref)}
        try:
            self.template.ask(request, pipes)
        except OSError:
            pipes.close()
            raise
        timer = asyncio.get_running_loop().call_later(FORK_TIMEOUT, self.template.kill)
        self._asked[ref] = (pipes, timer)

    def owes(self, ref: Ref) -> bool:
        """It was asked for this worker, and has not answered yet."""
        return ref in self._asked

    def answered(self, worker: str) -> tuple[Ref, Pipes] | None:
        """Our ends of the pipes of a worker that was asked for; None if it was not."""
        ref = next((ref for ref in self._asked if str(ref) == worker), None)
        if ref is None:
            return None
        pipes, timer = self._asked.pop(ref)
        timer.cancel()
        pipes.close_theirs()
        return ref, pipes

    def end(self) -> list[Ref]:
        """It forks no more and ends by itself; its workers go on. Returns those that it still owed."""
        self.template.end()
        return self.forsaken()

    def forsaken(self) -> list[Ref]:
        """Those that it owed, and will not deliver."""
        owed, self._asked = self._asked, {}
        for pipes, timer in owed.values():
            timer.cancel()
            pipes.close()
        return list(owed)
