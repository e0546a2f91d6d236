"""Starts workers: forked from the template where that is possible, else by exec.

Whatever goes wrong with templates, a worker is started by exec instead, which is slower and always works; the log says
why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mindbot_config.host import resource_shortage
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.processes.launching import child_process, executable_check
from mindbot_supervisor.processes.launching.child_process import Child, Pipes
from mindbot_supervisor.processes.launching.launch_options import LaunchOptions
from mindbot_supervisor.processes.templates.job_forkservers import JobForkservers
from mindbot_supervisor.processes.templates.template_process import Template, TemplateProcess
from mindbot_supervisor.processes.templates.template_selection import Note, TemplateSelection
from mindbot_worker.protocol import template_messages

Started = Callable[[Ref, Child], None]
Failed = Callable[[Ref, str], None]
RanShort = Callable[[Ref, str], None]


class WorkerLauncher:
    """Starts workers for the engine.

    For each `start` that was not withdrawn one of `started`, `failed` and `ran_short` is called: the worker runs, or
    cannot be started, or the host has nothing left to start it with. `orphaned` is told of workers whose job forkserver
    has ended. `agent_failed` is told why the agent can never work, and returns whether the daemon gives up.
    """

    def __init__(
        self,
        launch: LaunchOptions,
        *,
        started: Started,
        failed: Failed,
        ran_short: RanShort,
        orphaned: Callable[[list[Ref]], None],
        agent_failed: Callable[[str], bool],
    ) -> None:
        self._templates = TemplateSelection(launch, self)
        self.agent_failed = agent_failed
        self._started, self._failed, self._ran_short = started, failed, ran_short
        self._waiting: list[Ref] = []
        self.jobservers = JobForkservers(orphaned, self._templates.jobserver_lost)

    # -- for the engine ------------------------------------------------------------------------------------------------

    @property
    def launch(self) -> LaunchOptions:
        """What workers are started with from now on."""
        return self._templates.launch

    @launch.setter
    def launch(self, launch: LaunchOptions) -> None:
        self._templates.launch = launch

    def tell(self, note: Note) -> None:
        """Log by `note` what becomes of templates."""
        self._templates.note = note

    def prepare(self) -> None:
        """Build the template before the first worker is wanted."""
        self._templates.prepare()

    def check_code(self) -> None:
        """Ask the template whether its code has changed on disk: an operator wants new workers to run the new code."""
        self._templates.check_code()

    def start(self, ref: Ref) -> None:
        """Start a worker; `started` or `failed` follows, at once or when the template has answered."""
        if self._templates.checking:
            self._waiting.append(ref)
        elif (template := self._templates.current_if_fitting()) is not None:
            self._waiting.append(ref) if template.busy else self._fork(template, ref)
        else:
            try:
                next_template = self._templates.await_next()
            except OSError as exc:
                self._not_started(ref, "cannot start a template", exc)
                return
            self._waiting.append(ref) if next_template else self._exec(ref)

    def withdraw(self, ref: Ref) -> bool:
        """Take back a `start`. True: no worker will be started. False: it is being forked, and an answer follows."""
        if ref in self._waiting:
            self._waiting.remove(ref)
        return not self._templates.is_forking(ref)

    @property
    def template_process(self) -> TemplateProcess | None:
        """The process that forks workers now."""
        return self._templates.current.process if self._templates.current is not None else None

    def resume(self, pid: int, pidfd: int, sock: int, output: int, *, fits: bool) -> None:
        """Go on with the template of the version before this one."""
        self._templates.resume(pid, pidfd, sock, output, fits=fits)

    def describe(self) -> dict[str, object]:
        """For the status: how workers are started now, and why not from a template where one is wanted."""
        template, why = self._templates.current or self._templates.next_template, self._templates.why_none
        if not self.launch.agent or template is None:
            return {"launcher": "exec", **({"launcher_detail": why} if why else {})}
        template_process, jobserver = template.process.pid, self.jobservers.of(template.process.pid)
        return {
            "launcher": "template",
            "template": {"pid": template_process, "ready": template.ready},
            **({"jobserver": {"pid": jobserver}} if jobserver else {}),
        }

    def pids(self) -> set[int]:
        """Pids of the templates, which are children of ours and no workers."""
        return self._templates.pids()

    def helpers(self) -> frozenset[int]:
        """Pids of the processes that serve all workers: templates and job forkservers."""
        return frozenset({*self.pids(), *(pid for pid, _, _ in self.jobservers.known())})

    async def close(self) -> None:
        """End all templates; their workers are gone by now."""
        await self._templates.close()
        self.jobservers.close()

    # -- for the templates ---------------------------------------------------------------------------------------------

    def template_ready(self, template: Template, jobserver: int) -> None:
        if jobserver:
            self.jobservers.watch(jobserver, template.process.pid)

    def start_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for ref in waiting:
            self.start(ref)

    def exec_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for ref in waiting:
            self._exec(ref)

    def report_shortage(self, why: str) -> None:
        waiting, self._waiting = self._waiting, []
        for ref in waiting:
            self._ran_short(ref, why)

    def put_back(self, refs: list[Ref]) -> None:
        self._waiting += refs

    def fork_answered(self, template: Template, message: Mapping[str, Any]) -> None:
        found = template.answered(str(message.get("worker")))
        if found is not None:
            self._take_forked(template, *found, message)
        if self._waiting and not template.busy:
            self.start(self._waiting.pop(0))

    def _take_forked(self, template: Template, ref: Ref, pipes: Pipes, message: Mapping[str, Any]) -> None:
        if message.get("say") != template_messages.FORKED:
            pipes.close_ours()
            self._not_started(ref, "cannot fork a worker", OSError(message.get("errno"), str(message.get("why"))))
            return
        try:
            started = pipes.child(int(message.get("pid", 0)))
        except OSError as exc:
            pipes.close_ours()
            self._not_started(ref, "cannot watch the worker", exc)
            return
        self.jobservers.used_by(ref, template.process.pid)
        self._started(ref, started)

    # -- fork and exec -------------------------------------------------------------------------------------------------

    def _fork(self, template: Template, ref: Ref) -> None:
        try:
            template.fork(ref)
        except OSError as exc:
            if resource_shortage.is_one(exc):
                why = f"cannot fork a worker: {resource_shortage.explain(exc)}"
                self._ran_short(ref, why)
                self.report_shortage(why)
            else:
                self._exec(ref)

    def _exec(self, ref: Ref) -> None:
        launch = self.launch
        try:
            child = child_process.spawn(launch.command, launch.environ_of(ref), launch.popen)
        except OSError as exc:
            why = (
                ""
                if resource_shortage.is_one(exc)
                else executable_check.problem(launch.command, launch.environ_of(ref))
            )
            if why:
                self._failed(ref, f"cannot start {launch.command[0]}: {why}")
            else:
                self._not_started(ref, f"cannot start {launch.command[0]}", exc)
            return
        self._started(ref, child)

    def _not_started(self, ref: Ref, what: str, exc: OSError) -> None:
        """Report the failure: as a shortage of the host where it is one, for which no slot is blamed."""
        if resource_shortage.is_one(exc):
            self._ran_short(ref, f"{what}: {resource_shortage.explain(exc)}")
        else:
            self._failed(ref, f"{what}: {exc.strerror}")
