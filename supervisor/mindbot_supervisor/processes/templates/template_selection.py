"""Selects the template from which workers are forked, builds the next one, and replaces one that ended.

A template that no longer fits settings, environment or code stays in use until the next one is ready. Where none can
be built, workers are started by exec, and the next attempt follows after a back-off.
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
from mindbot_supervisor.processes.launching.launch_options import LaunchOptions
from mindbot_supervisor.processes.pipes.worker_output import Output
from mindbot_supervisor.processes.templates.template_process import FORK_TIMEOUT, Template, TemplateProcess
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


class TemplateUser(Protocol):
    """Whoever wants workers forked: the worker launcher."""

    def start_waiting(self) -> None:
        """Start the workers that wait: a template is ready, or it is known that its code has not changed."""

    def exec_waiting(self) -> None:
        """Start the workers that wait by exec: there will be no template for a while."""

    def agent_failed(self, why: str) -> bool:
        """Report that the agent can never work. True: the daemon gives up, and nothing else is to be tried."""

    def report_shortage(self, why: str) -> None:
        """Report that the host has nothing left to build a template with: no worker waits any longer."""

    def put_back(self, refs: list[Ref]) -> None:
        """Let these workers wait again: the template that was asked for them will not fork them."""

    def fork_answered(self, template: Template, message: Mapping[str, Any]) -> None:
        """Take the answer of a template: a worker was forked, or could not be."""

    def template_ready(self, template: Template, jobserver: int) -> None:
        """Note that a new template is in use, with a job forkserver of this pid; 0: it has none."""


class TemplateSelection:
    """Owns all templates: the current one, the next one that is being built, and those that are ending."""

    def __init__(self, launch: LaunchOptions, user: TemplateUser) -> None:
        self.launch = launch
        self.note: Note = lambda *_, **__: None
        self.why_none = ""
        """Why there is no template at the moment, for the status."""
        self.current: Template | None = None
        self.next_template: Template | None = None
        self.checking = False
        """The template in use looks whether the code on disk has changed."""
        self._user = user
        self._loop = asyncio.get_running_loop()
        self._ending: dict[int, TemplateProcess] = {}
        self._no_template_until: dict[str, float] = {}
        """Until when, on the monotonic clock, no template is tried for an agent."""
        self._failures = self._short_lives = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._closing = False

    # -- for the launcher ----------------------------------------------------------------------------------------------

    def current_if_fitting(self) -> Template | None:
        return self.current if self.current is not None and self.current.fits(self.launch) else None

    def is_forking(self, ref: Ref) -> bool:
        """Whether a template was asked for this worker and has not answered yet."""
        return any(template is not None and template.is_forking(ref) for template in (self.current, self.next_template))

    def await_next(self) -> bool:
        """Build the next template where one may be built; whether there is one to wait for.

        Raises OSError where the host has nothing left to start it with.
        """
        if not self.launch.agent or time.monotonic() < self._no_template_until.get(self.launch.agent, 0.0):
            return False
        if self.next_template is None or self.next_template.launch != self.launch:
            self._build()
        return self.next_template is not None

    def prepare(self) -> None:
        """Build a template if there is none that fits."""
        if self.launch.agent and self.current_if_fitting() is None and self.next_template is None:
            self._build_soon()

    def check_code(self) -> None:
        """Ask the template whether its code has changed on disk: an operator wants new workers to run the new code."""
        template = self.current
        if template is None or self.checking or self.next_template is not None:
            return
        try:
            template.process.ask({"say": template_messages.CHANGED})
        except OSError:
            return
        self.checking = True
        self._loop.call_later(FORK_TIMEOUT, self._checked, template, [])

    def resume(self, pid: int, pidfd: int, sock: int, output: int, *, fits: bool) -> None:
        """Go on with the template of the version before this one."""
        sock_of_it, writer = socket.socket(fileno=sock), self._output()
        process = TemplateProcess(pid, Descriptor(pidfd), sock_of_it, Descriptor(output), writer, self)
        template = Template(process, self.launch, ready=True)
        process.watch()
        if fits and self.launch.agent:
            self.current = template
            self.check_code()
        else:
            self._retire(template)

    def pids(self) -> set[int]:
        return {
            *(template.process.pid for template in (self.current, self.next_template) if template is not None),
            *self._ending,
        }

    def jobserver_lost(self, template_pid: int) -> None:
        """Build a new template in place of this one, for which no job process can be forked any more."""
        template = self.current
        if template is not None and template.process.pid == template_pid and not self._closing:
            self.current, self.checking = None, False
            self._retire(template)
            self.note(
                log_events.TEMPLATE_LOST, "warning", pid=template_pid, detail="its job server ended; a new one is built"
            )
            self._build_soon()

    async def close(self) -> None:
        """End all templates. Their workers are gone by now."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        for template in (self.current, self.next_template):
            if template is not None:
                self._retire(template)
        self.current = self.next_template = None
        deadline = self._loop.time() + CLOSE_TIMEOUT
        while self._ending:
            self._ended.clear()
            try:
                await asyncio.wait_for(self._ended.wait(), max(deadline - self._loop.time(), 0.01))
            except TimeoutError:
                for process in self._ending.values():
                    process.kill()
                deadline = self._loop.time() + CLOSE_TIMEOUT

    # -- building ------------------------------------------------------------------------------------------------------

    def _build_soon(self) -> None:
        """Build the next template now, or as soon as the host has what it takes."""
        try:
            self._build()
        except OSError as exc:
            self._schedule(RETRY_FIRST)
            self._user.report_shortage(f"cannot start a template: {resource_shortage.explain(exc)}")

    def _build(self) -> None:
        """Start to build the next template. Raises OSError where the host has nothing left to start it with."""
        if self.next_template is not None:
            self._retire(self.next_template)
            self.next_template = None
        launch = self.launch
        try:
            process = TemplateProcess.start(launch, self._output(), self)
        except OSError as exc:
            if resource_shortage.is_one(exc):
                raise
            self._give_up(f"the template cannot be started: {exc.strerror}", RETRY_MAX)
            return
        self.next_template = Template(process, launch)
        process.watch()
        self._loop.call_later(BUILD_TIMEOUT, self._overdue, self.next_template)

    def _overdue(self, template: Template) -> None:
        if template is self.next_template:
            template.process.kill()

    def _take_over(self, template: Template, message: Mapping[str, Any]) -> None:
        """Fork from the template that has become ready, and end the one before."""
        if template is not self.next_template:
            return
        before, self.current, self.next_template = self.current, template, None
        self.checking = False
        template.ready, self._failures, self.why_none = True, 0, ""
        if before is not None:
            self._retire(before)
        self._user.template_ready(template, int(message.get("jobserver") or 0))
        self.note(log_events.TEMPLATE_READY, "info", pid=template.process.pid, after=round(template.age(), 3))
        self._user.start_waiting()

    def _retire(self, template: Template) -> None:
        self._ending[template.process.pid] = template.process
        self._user.put_back(template.end())

    def _refused(self, template: Template, why: str, retry_in: float) -> None:
        """Give up a template whose agent cannot be forked or imported: a worker started by exec tells the reason."""
        self._retire(template)
        if template is self.next_template:
            self.next_template = None
            if template.launch == self.launch:
                self._give_up(why, retry_in)

    def _failed(self, template: Template, why: str, code: object) -> None:
        """Handle a template that could not be built: by a shortage, by a fault of the agent, or otherwise."""
        wanted = template is self.next_template and template.launch == self.launch
        if code == resource_shortage.EXIT_CODE:
            self._ran_short(template, why)
        elif code == CONFIG_ERROR and wanted and self._user.agent_failed(why):
            self._retire(template)
            self.next_template = None
        else:
            self._refused(template, why, self._next_retry())

    def _ran_short(self, template: Template, why: str) -> None:
        """Handle a template that could not be built because the host had nothing left."""
        self._retire(template)
        if template is self.next_template:
            self.next_template = None
            self._schedule(self._next_retry())
            self._user.report_shortage(why)

    def _give_up(self, why: str, retry_in: float) -> None:
        self._no_template_until[self.launch.agent] = time.monotonic() + retry_in
        self.why_none = why
        if self.current is not None:
            self.current.stale = False  # old code that works is better than new code that does not
        self.note(log_events.TEMPLATE_REFUSED, "warning", detail=f"workers are started by exec: {why}")
        self._schedule(retry_in)
        self._user.exec_waiting()

    def _schedule(self, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if wait < RETRY_MAX * 2 and not self._closing:
            self._timer = self._loop.call_later(wait, self.prepare)

    def _next_retry(self) -> float:
        self._failures += 1
        return min(RETRY_FIRST * 2.0 ** (self._failures - 1), RETRY_MAX)

    # -- messages of templates -----------------------------------------------------------------------------------------

    def heard(self, process: TemplateProcess, message: Mapping[str, Any]) -> None:
        template = next((each for each in (self.current, self.next_template) if each and each.process is process), None)
        if template is None:
            return
        match message.get("say"):
            case template_messages.READY:
                self._take_over(template, message)
            case template_messages.UNSAFE:
                self._refused(template, f"{message.get('why')}; forking it would not be safe", float("inf"))
            case template_messages.FAILED:
                self._failed(template, str(message.get("why")), message.get("code"))
            case template_messages.FORKED | template_messages.NOT_FORKED:
                self._user.fork_answered(template, message)
            case template_messages.CHANGED:
                self._checked(template, message.get("files") or [])

    def gone(self, process: TemplateProcess, how: str) -> None:
        if self._ending.pop(process.pid, None) is not None or self._closing:
            self._ended.set()
            return
        if self.next_template is not None and self.next_template.process is process:
            self.next_template = None
            self._give_up(f"the template ended before it was ready: {how}", self._next_retry())
        elif self.current is not None and self.current.process is process:
            self._lost(self.current, how)

    def _lost(self, template: Template, how: str) -> None:
        """Replace the current template, which has ended. Workers that it forked live on."""
        self.current, self.checking = None, False
        self.note(log_events.TEMPLATE_LOST, "warning", pid=template.process.pid, detail=f"{how}; a new one is built")
        self._user.put_back(template.give_back_unanswered())
        self._short_lives = self._short_lives + 1 if template.age() < SHORT_LIFE else 0
        if self._short_lives > 1:
            self._give_up(f"the template ended again soon after its start: {how}", self._next_retry())
        elif self.next_template is None:
            self._build_soon()

    def _checked(self, template: Template, files: list[str]) -> None:
        if not self.checking or template is not self.current:
            return
        self.checking = False
        if not files:
            self._user.start_waiting()
            return
        template.stale = True
        self._no_template_until.pop(self.launch.agent, None)
        shown = [os.path.basename(file) for file in files[:3]]  # noqa: PTH119
        self.note(log_events.TEMPLATE_STALE, "info", changed=shown, detail="the code has changed; a new one is built")
        self._build_soon()

    def _output(self) -> Output:
        return Output(self._write, self._loop.call_later)

    def _write(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        self.note(log_events.TEMPLATE_OUTPUT, level, **{key: value for key, value in fields.items() if key != "event"})
