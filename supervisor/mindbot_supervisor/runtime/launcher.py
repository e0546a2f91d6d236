"""How a worker comes to life: forked from the template where that is possible, else started by exec.

The template that fits what workers are started with now forks them. Where settings, environment or code have changed
a new one is built beside it, and takes over once it is ready. Whatever goes wrong with templates, a worker is started
by exec instead, which is slower and always works; the log says why.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mindbot_supervisor.core import events
from mindbot_supervisor.core.model import Ref
from mindbot_worker import wire, wire_template

from . import child
from .child import Child, Pipes
from .jobservers import Jobservers
from .output import Output
from .template import Template

BUILD_TIMEOUT = 120.0
"""Seconds to import the agent (2 to 5 alone on a machine, over 60 seen on one with a load of 20)."""
FORK_TIMEOUT = 20.0
"""Seconds for a fork, which takes 0.04; a template that does not answer is killed and built anew."""
RETRY_FIRST, RETRY_MAX = 5.0, 300.0
"""Seconds until a template is built again after it could not be, doubled each time."""
SHORT_LIFE = 20.0
"""A template that ends within so many seconds is not built again at once for a second time."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What every worker is started with: the command line, the environment, the runtime directory."""

    command: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    runtime_dir: str
    agent: str = ""
    """MODULE:ATTR to be imported by a template; empty: every worker is started by exec."""

    def environ_of(self, ref: Ref) -> dict[str, str]:
        return {**self.environ, **self.own_environ(ref), wire.RUNTIME_DIR: self.runtime_dir}

    def own_environ(self, ref: Ref) -> dict[str, str]:
        """What one worker has beside the others."""
        return {wire.WORKER_NAME: str(ref), wire.SLOT: str(ref.slot)}

    def digest(self) -> str:
        """Tells launches apart without telling what is in them."""
        data = json.dumps([list(self.command), sorted(self.environ.items()), self.runtime_dir, self.agent])
        return hashlib.sha256(data.encode()).hexdigest()

    def template_command(self) -> list[str]:
        return [sys.executable, "-m", "mindbot_worker.template", "--agent", self.agent]


Born = Callable[[Ref, Child], None]
Failed = Callable[[Ref, str], None]
Note = Callable[..., None]
"""Takes event, level and fields."""


@dataclass(slots=True)
class _Image:
    """A template and what it was built for."""

    template: Template
    launch: Launch
    began: float
    ready: bool = False
    stale: bool = False
    """The code on disk is no longer what it has imported."""
    forking: dict[Ref, Pipes] = field(default_factory=dict)
    timers: dict[Ref, asyncio.TimerHandle] = field(default_factory=dict)


class Launcher:
    """Starts workers for the engine. `born` and `failed` are called once for each `start`, unless it was withdrawn."""

    def __init__(self, launch: Launch, *, born: Born, failed: Failed, orphaned: Callable[[list[Ref]], None]) -> None:
        self.launch = launch
        self.note: Note = lambda *_, **__: None
        self._born, self._failed = born, failed
        self._loop = asyncio.get_running_loop()
        self._image: _Image | None = None
        self._coming: _Image | None = None
        self._retired: dict[int, Template] = {}
        self._waiting: list[Ref] = []
        self._checking = False
        self._given_up: dict[str, float] = {}
        """Until when, on the monotonic clock, no template is tried for an agent."""
        self._failures = self._short_lives = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = asyncio.Event()
        self._closing = False
        self.why_exec = ""
        """Why workers are started by exec at the moment, for the status."""
        self.jobservers = Jobservers(orphaned, self._jobserver_gone)

    # -- for the engine ------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Build the template before the first worker is wanted."""
        if self.launch.agent and self._fitting() is None and self._coming is None:
            self._build()

    def start(self, ref: Ref) -> None:
        """Start a worker; `born` or `failed` follows, at once or when the template has answered."""
        image = self._fitting()
        if self._checking:
            self._waiting.append(ref)
        elif image is not None:
            self._fork(image, ref)
        elif self.launch.agent and self._may_build():
            self._waiting.append(ref)
            if self._coming is None or self._coming.launch != self.launch:
                self._build()
        else:
            self._exec(ref)

    def withdraw(self, ref: Ref) -> bool:
        """True: the worker will never be born. False: it is being forked, and `born` or `failed` follows as ever."""
        if ref not in self._waiting:
            return False
        self._waiting.remove(ref)
        return True

    def check_code(self) -> None:
        """An operator wants new workers: the next ones must not run code that has changed on disk since."""
        image = self._image
        if image is None or self._checking or self._coming is not None:
            return
        self._checking = image.template.ask({"say": wire_template.CHANGED})
        if self._checking:
            self._loop.call_later(FORK_TIMEOUT, self._checked, image, [])

    @property
    def template(self) -> Template | None:
        """The one that forks workers now."""
        return self._image.template if self._image is not None else None

    def resume(self, pid: int, pidfd: int, sock: int, output: int, *, fits: bool) -> None:
        """Go on with the template of the version before this one."""
        template = Template(pid, pidfd, socket.socket(fileno=sock), output, Output(self._write), self)
        image = _Image(template, self.launch, time.monotonic(), ready=True)
        template.watch()
        if fits and self.launch.agent:
            self._image = image
            self.check_code()
        else:
            self._retire(image)

    def describe(self) -> dict[str, object]:
        """For the status: how workers are started now, and why not from a template where one is wanted."""
        image = self._image or self._coming
        if not self.launch.agent or image is None:
            return {"launcher": "exec", **({"launcher_detail": self.why_exec} if self.why_exec else {})}
        return {"launcher": "template", "template": {"pid": image.template.pid, "ready": image.ready}}

    def pids(self) -> set[int]:
        """Children that are no workers."""
        images = [image.template.pid for image in (self._image, self._coming) if image is not None]
        return {*images, *self._retired}

    async def close(self) -> None:
        """End all templates; their workers are gone by now."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        for image in (self._image, self._coming):
            if image is not None:
                self._retire(image)
        self._image = self._coming = None
        deadline = self._loop.time() + 2.0
        while self._retired:
            self._closed.clear()
            try:
                await asyncio.wait_for(self._closed.wait(), max(deadline - self._loop.time(), 0.01))
            except TimeoutError:
                for template in self._retired.values():
                    template.kill()
                deadline = self._loop.time() + 2.0
        self.jobservers.close()

    # -- templates -----------------------------------------------------------------------------------------------------

    def _fitting(self) -> _Image | None:
        image = self._image
        fits = image is not None and image.launch == self.launch and not image.stale
        return image if fits else None

    def _may_build(self) -> bool:
        return time.monotonic() >= self._given_up.get(self.launch.agent, 0.0)

    def _build(self) -> None:
        if self._coming is not None:
            self._retire(self._coming)
            self._coming = None
        launch = self.launch
        environ = {**launch.environ, wire.RUNTIME_DIR: launch.runtime_dir}
        try:
            template = Template.start(launch.template_command(), environ, Output(self._write), self)
        except OSError as exc:
            self._give_up(f"the template cannot be started: {exc.strerror}", RETRY_MAX)
            return
        self._coming = _Image(template, launch, time.monotonic())
        template.watch()
        self._loop.call_later(BUILD_TIMEOUT, self._overdue, self._coming)

    def _overdue(self, image: _Image) -> None:
        if image is self._coming:
            image.template.kill()

    def _retire(self, image: _Image) -> None:
        """It forks no more and ends by itself; its workers go on. What it was asked for, the next one does."""
        self._retired[image.template.pid] = image.template
        image.template.end()
        self._ask_again(image)

    def _ask_again(self, image: _Image) -> None:
        for ref, pipes in image.forking.items():
            pipes.close()
            image.timers.pop(ref).cancel()
            self._waiting.append(ref)
        image.forking.clear()

    def _write(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        self.note(events.TEMPLATE_OUTPUT, level, **{key: value for key, value in fields.items() if key != "event"})

    def said(self, template: Template, message: Mapping[str, Any]) -> None:
        """What a template says."""
        image = next((each for each in (self._image, self._coming) if each and each.template is template), None)
        if image is None:
            return
        match message.get("say"):
            case wire_template.READY:
                self._take_over(image, message)
            case wire_template.UNSAFE:
                self._refused(image, f"{message.get('why')}; forking it would not be safe", float("inf"))
            case wire_template.FAILED:
                self._refused(image, str(message.get("why")), self._next_retry())
            case wire_template.FORKED:
                self._forked(image, str(message.get("worker")), int(message.get("pid", 0)))
            case wire_template.NOT_FORKED:
                self._not_forked(image, str(message.get("worker")), str(message.get("why")))
            case wire_template.CHANGED:
                self._checked(image, message.get("files") or [])

    def _take_over(self, image: _Image, message: Mapping[str, Any]) -> None:
        """The new template is ready: it forks from now on, and the one before ends."""
        if image is not self._coming:
            return
        before, self._image, self._coming = self._image, image, None
        self._checking = False
        image.ready, self._failures, self.why_exec = True, 0, ""
        if before is not None:
            self._retire(before)
        if pid := message.get("jobserver"):
            self.jobservers.watch(int(pid), image.template.pid)
        took = round(time.monotonic() - image.began, 3)
        self.note(events.TEMPLATE_READY, "info", pid=image.template.pid, after=took)
        self._serve_waiting()

    def _refused(self, image: _Image, why: str, retry_in: float) -> None:
        """This agent cannot be forked, or not be imported at all: then exec, where a worker says so itself."""
        self._retire(image)
        if image is self._coming:
            self._coming = None
            if image.launch == self.launch:
                self._give_up(why, retry_in)

    def _give_up(self, why: str, retry_in: float) -> None:
        self._given_up[self.launch.agent] = time.monotonic() + retry_in
        self.why_exec = why
        if self._image is not None:
            self._image.stale = False  # old code that works is better than new code that does not
        self.note(events.TEMPLATE_REFUSED, "warning", detail=f"workers are started by exec: {why}")
        self._schedule(retry_in)
        waiting, self._waiting = self._waiting, []
        for ref in waiting:
            self._exec(ref)

    def _schedule(self, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if wait < RETRY_MAX * 2 and not self._closing:
            self._timer = self._loop.call_later(wait, self.prepare)

    def _next_retry(self) -> float:
        self._failures += 1
        return min(RETRY_FIRST * 2.0 ** (self._failures - 1), RETRY_MAX)

    def gone(self, template: Template, how: str) -> None:
        """A template has ended."""
        if self._retired.pop(template.pid, None) is not None or self._closing:
            self._closed.set()
            return
        coming = self._coming
        if coming is not None and coming.template is template:
            self._coming = None
            self._give_up(f"the template ended before it was ready: {how}", self._next_retry())
        elif self._image is not None and self._image.template is template:
            self._lost(self._image, how)

    def _lost(self, image: _Image, how: str) -> None:
        """The template is gone; workers that it has forked live on. What it was asked for, the next one does."""
        self._image, self._checking = None, False
        self.note(events.TEMPLATE_LOST, "warning", pid=image.template.pid, detail=f"{how}; a new one is built")
        self._ask_again(image)
        self._short_lives = self._short_lives + 1 if time.monotonic() - image.began < SHORT_LIFE else 0
        if self._short_lives > 1:
            self._give_up(f"the template ended again soon after its start: {how}", self._next_retry())
        elif self._coming is None:
            self._build()

    def _jobserver_gone(self, owner: int) -> None:
        """No job process can be forked any more from this template's image: it is built anew."""
        image = self._image
        if image is not None and image.template.pid == owner and not self._closing:
            self._image, self._checking = None, False
            self._retire(image)
            self.note(events.TEMPLATE_LOST, "warning", pid=owner, detail="its job server ended; a new one is built")
            self._build()

    # -- workers -------------------------------------------------------------------------------------------------------

    def _serve_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for ref in waiting:
            self.start(ref)

    def _fork(self, image: _Image, ref: Ref) -> None:
        try:
            pipes = Pipes.open()
        except OSError as exc:
            self._failed(ref, f"cannot open pipes: {exc.strerror}")
            return
        request = {"say": wire_template.FORK, "worker": str(ref), "environ": self.launch.own_environ(ref)}
        if not image.template.ask(request, pipes):
            pipes.close()
            self._exec(ref)
            return
        image.forking[ref] = pipes
        image.timers[ref] = self._loop.call_later(FORK_TIMEOUT, image.template.kill)

    def _asked(self, image: _Image, worker: str) -> tuple[Ref, Pipes] | None:
        ref = next((ref for ref in image.forking if str(ref) == worker), None)
        if ref is None:
            return None
        image.timers.pop(ref).cancel()
        pipes = image.forking.pop(ref)
        pipes.close_theirs()
        return ref, pipes

    def _forked(self, image: _Image, worker: str, pid: int) -> None:
        found = self._asked(image, worker)
        if found is None:
            return
        ref, pipes = found
        try:
            born = pipes.child(pid)
        except OSError as exc:
            pipes.close_ours()
            self._failed(ref, f"cannot watch the worker: {exc.strerror}")
            return
        self.jobservers.used_by(ref, image.template.pid)
        self._born(ref, born)

    def _not_forked(self, image: _Image, worker: str, why: str) -> None:
        found = self._asked(image, worker)
        if found is not None:
            found[1].close_ours()
            self._failed(found[0], f"cannot fork a worker: {why}")

    def _checked(self, image: _Image, files: list[str]) -> None:
        if not self._checking or image is not self._image:
            return
        self._checking = False
        if files:
            image.stale = True
            self._given_up.pop(self.launch.agent, None)
            shown = [os.path.basename(file) for file in files[:3]]  # noqa: PTH119
            self.note(events.TEMPLATE_STALE, "info", changed=shown, detail="the code has changed; a new one is built")
            self._build()
        else:
            self._serve_waiting()

    def _exec(self, ref: Ref) -> None:
        try:
            started = child.spawn(self.launch.command, self.launch.environ_of(ref))
        except OSError as exc:
            self._failed(ref, f"cannot start {self.launch.command[0]}: {exc.strerror}")
            return
        self._born(ref, started)
