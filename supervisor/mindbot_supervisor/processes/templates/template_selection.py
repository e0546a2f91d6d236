"""Which template forks workers: it is built, kept fitting, followed by the next one, and built again when it is lost.

One that no longer fits settings, environment or code goes on until the next one is ready. Where none can be built, the
workers are started by exec, and it is tried again later.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mindbot_config.host import resource_shortage
from mindbot_config.host.descriptors import Descriptor
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.workers.first_start import CONFIG_ERROR
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.processes.launching.launch_options import Launch
from mindbot_supervisor.processes.pipes.worker_output import Output
from mindbot_supervisor.processes.templates.template_process import FORK_TIMEOUT, Image, Template
from mindbot_worker.protocol import template_messages

BUILD_TIMEOUT = 120.0
"""Seconds to import the agent (2 to 5 alone on a machine, over 60 seen on one with a load of 20)."""
RETRY_FIRST, RETRY_MAX = 5.0, 300.0
"""Seconds until a template is built again after it could not be, doubled each time."""
SHORT_LIFE = 20.0
"""A template that ends within so many seconds is not built again at once for a second time."""
CLOSE_TIMEOUT = 2.0
"""Seconds in which templates end by themselves at the end."""

Note = Callable[..., None]
"""Takes event, level and fields."""


class Midwife(Protocol):
    """Who wants workers of the image."""

    def serve(self) -> None:
        """There is an image that fits, or none is needed any more to know: start those who wait."""

    def serve_by_exec(self) -> None:
        """There will be no image for a while."""

    def agent_failed(self, why: str) -> bool:
        """The agent can never work. True: that is the end of all, and nothing else is to be tried."""

    def run_short(self, why: str) -> None:
        """The host has nothing left to build an image with: those who wait are to ask again."""

    def wait_again(self, refs: list[Ref]) -> None:
        """These were asked of an image that will not deliver them."""

    def delivered(self, image: Image, message: Mapping[str, Any]) -> None:
        """A worker was forked, or could not be."""

    def built(self, image: Image, jobserver: int) -> None:
        """A new image is in use, with a job server of this pid; 0: it has none."""


class Images:
    """Of all templates the one in use, the one that is being built to follow it, and those that are ending."""

    def __init__(self, launch: Launch, midwife: Midwife) -> None:
        self.launch = launch
        self.note: Note = lambda *_, **__: None
        self.why_none = ""
        """Why there is none at the moment, for the status."""
        self.in_use: Image | None = None
        self.coming: Image | None = None
        self.checking = False
        """The template in use looks whether the code on disk has changed."""
        self._midwife = midwife
        self._loop = asyncio.get_running_loop()
        self._ending: dict[int, Template] = {}
        self._given_up: dict[str, float] = {}
        """Until when, on the monotonic clock, no template is tried for an agent."""
        self._failures = self._short_lives = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._closing = False

    # -- what is asked of them -----------------------------------------------------------------------------------------

    def fitting(self) -> Image | None:
        return self.in_use if self.in_use is not None and self.in_use.fits(self.launch) else None

    def owe(self, ref: Ref) -> bool:
        """Whether one of them was asked for this worker and has not answered yet."""
        return any(image is not None and image.owes(ref) for image in (self.in_use, self.coming))

    def is_coming(self) -> bool:
        """Whether it is worth waiting for the next one, which is being built by now. Raises OSError where the host has
        nothing left to start it with.
        """
        if not self.launch.agent or time.monotonic() < self._given_up.get(self.launch.agent, 0.0):
            return False
        if self.coming is None or self.coming.launch != self.launch:
            self._build()
        return self.coming is not None

    def prepare(self) -> None:
        """Build one if there is none that fits."""
        if self.launch.agent and self.fitting() is None and self.coming is None:
            self._build_soon()

    def check_code(self) -> None:
        """An operator wants new workers: the next ones must not run code that has changed on disk since."""
        image = self.in_use
        if image is None or self.checking or self.coming is not None:
            return
        try:
            image.template.ask({"say": template_messages.CHANGED})
        except OSError:
            return
        self.checking = True
        self._loop.call_later(FORK_TIMEOUT, self._checked, image, [])

    def resume(self, pid: int, pidfd: int, sock: int, output: int, *, fits: bool) -> None:
        """Go on with the template of the version before this one."""
        sock_of_it, writer = socket.socket(fileno=sock), self._output()
        template = Template(pid, Descriptor(pidfd), sock_of_it, Descriptor(output), writer, self)
        image = Image(template, self.launch, ready=True)
        template.watch()
        if fits and self.launch.agent:
            self.in_use = image
            self.check_code()
        else:
            self._retire(image)

    def pids(self) -> set[int]:
        return {*(image.template.pid for image in (self.in_use, self.coming) if image is not None), *self._ending}

    def jobserver_lost(self, template: int) -> None:
        """No job process can be forked any more from this template's image: it is built anew."""
        image = self.in_use
        if image is not None and image.template.pid == template and not self._closing:
            self.in_use, self.checking = None, False
            self._retire(image)
            self.note(
                log_events.TEMPLATE_LOST, "warning", pid=template, detail="its job server ended; a new one is built"
            )
            self._build_soon()

    async def close(self) -> None:
        """End all templates; their workers are gone by now."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        for image in (self.in_use, self.coming):
            if image is not None:
                self._retire(image)
        self.in_use = self.coming = None
        deadline = self._loop.time() + CLOSE_TIMEOUT
        while self._ending:
            self._ended.clear()
            try:
                await asyncio.wait_for(self._ended.wait(), max(deadline - self._loop.time(), 0.01))
            except TimeoutError:
                for template in self._ending.values():
                    template.kill()
                deadline = self._loop.time() + CLOSE_TIMEOUT

    # -- building ------------------------------------------------------------------------------------------------------

    def _build_soon(self) -> None:
        """Now, or as soon as the host has what it takes."""
        try:
            self._build()
        except OSError as exc:
            self._schedule(RETRY_FIRST)
            self._midwife.run_short(f"cannot start a template: {resource_shortage.explain(exc)}")

    def _build(self) -> None:
        """Raises OSError where the host has nothing left to start it with."""
        if self.coming is not None:
            self._retire(self.coming)
            self.coming = None
        launch = self.launch
        try:
            template = Template.start(launch, self._output(), self)
        except OSError as exc:
            if resource_shortage.is_one(exc):
                raise
            self._give_up(f"the template cannot be started: {exc.strerror}", RETRY_MAX)
            return
        self.coming = Image(template, launch)
        template.watch()
        self._loop.call_later(BUILD_TIMEOUT, self._overdue, self.coming)

    def _overdue(self, image: Image) -> None:
        if image is self.coming:
            image.template.kill()

    def _take_over(self, image: Image, message: Mapping[str, Any]) -> None:
        """The new template is ready: it forks from now on, and the one before ends."""
        if image is not self.coming:
            return
        before, self.in_use, self.coming = self.in_use, image, None
        self.checking = False
        image.ready, self._failures, self.why_none = True, 0, ""
        if before is not None:
            self._retire(before)
        self._midwife.built(image, int(message.get("jobserver") or 0))
        self.note(log_events.TEMPLATE_READY, "info", pid=image.template.pid, after=round(image.age(), 3))
        self._midwife.serve()

    def _retire(self, image: Image) -> None:
        self._ending[image.template.pid] = image.template
        self._midwife.wait_again(image.end())

    def _refused(self, image: Image, why: str, retry_in: float) -> None:
        """This agent cannot be forked, or not be imported at all: then exec, where a worker says so itself."""
        self._retire(image)
        if image is self.coming:
            self.coming = None
            if image.launch == self.launch:
                self._give_up(why, retry_in)

    def _failed(self, image: Image, why: str, code: object) -> None:
        """It could not come up: for want of something, by a fault of the agent, or otherwise."""
        wanted = image is self.coming and image.launch == self.launch
        if code == resource_shortage.EXIT_CODE:
            self._ran_short(image, why)
        elif code == CONFIG_ERROR and wanted and self._midwife.agent_failed(why):
            self._retire(image)
            self.coming = None
        else:
            self._refused(image, why, self._next_retry())

    def _ran_short(self, image: Image, why: str) -> None:
        """The host had nothing left for it to come up with."""
        self._retire(image)
        if image is self.coming:
            self.coming = None
            self._schedule(self._next_retry())
            self._midwife.run_short(why)

    def _give_up(self, why: str, retry_in: float) -> None:
        self._given_up[self.launch.agent] = time.monotonic() + retry_in
        self.why_none = why
        if self.in_use is not None:
            self.in_use.stale = False  # old code that works is better than new code that does not
        self.note(log_events.TEMPLATE_REFUSED, "warning", detail=f"workers are started by exec: {why}")
        self._schedule(retry_in)
        self._midwife.serve_by_exec()

    def _schedule(self, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if wait < RETRY_MAX * 2 and not self._closing:
            self._timer = self._loop.call_later(wait, self.prepare)

    def _next_retry(self) -> float:
        self._failures += 1
        return min(RETRY_FIRST * 2.0 ** (self._failures - 1), RETRY_MAX)

    # -- what templates say --------------------------------------------------------------------------------------------

    def said(self, template: Template, message: Mapping[str, Any]) -> None:
        image = next((each for each in (self.in_use, self.coming) if each and each.template is template), None)
        if image is None:
            return
        match message.get("say"):
            case template_messages.READY:
                self._take_over(image, message)
            case template_messages.UNSAFE:
                self._refused(image, f"{message.get('why')}; forking it would not be safe", float("inf"))
            case template_messages.FAILED:
                self._failed(image, str(message.get("why")), message.get("code"))
            case template_messages.FORKED | template_messages.NOT_FORKED:
                self._midwife.delivered(image, message)
            case template_messages.CHANGED:
                self._checked(image, message.get("files") or [])

    def gone(self, template: Template, how: str) -> None:
        if self._ending.pop(template.pid, None) is not None or self._closing:
            self._ended.set()
            return
        if self.coming is not None and self.coming.template is template:
            self.coming = None
            self._give_up(f"the template ended before it was ready: {how}", self._next_retry())
        elif self.in_use is not None and self.in_use.template is template:
            self._lost(self.in_use, how)

    def _lost(self, image: Image, how: str) -> None:
        """The template is gone; workers that it has forked live on. What it was asked for, the next one does."""
        self.in_use, self.checking = None, False
        self.note(log_events.TEMPLATE_LOST, "warning", pid=image.template.pid, detail=f"{how}; a new one is built")
        self._midwife.wait_again(image.forsaken())
        self._short_lives = self._short_lives + 1 if image.age() < SHORT_LIFE else 0
        if self._short_lives > 1:
            self._give_up(f"the template ended again soon after its start: {how}", self._next_retry())
        elif self.coming is None:
            self._build_soon()

    def _checked(self, image: Image, files: list[str]) -> None:
        if not self.checking or image is not self.in_use:
            return
        self.checking = False
        if not files:
            self._midwife.serve()
            return
        image.stale = True
        self._given_up.pop(self.launch.agent, None)
        shown = [os.path.basename(file) for file in files[:3]]  # noqa: PTH119
        self.note(log_events.TEMPLATE_STALE, "info", changed=shown, detail="the code has changed; a new one is built")
        self._build_soon()

    def _output(self) -> Output:
        return Output(self._write, self._loop.call_later)

    def _write(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        self.note(log_events.TEMPLATE_OUTPUT, level, **{key: value for key, value in fields.items() if key != "event"})
