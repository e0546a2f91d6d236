"""How a worker comes to life: forked from the template where that is possible, else started by exec.

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
from mindbot_supervisor.processes.launching.launch_options import Launch
from mindbot_supervisor.processes.templates.job_forkservers import Jobservers
from mindbot_supervisor.processes.templates.template_process import Image, Template
from mindbot_supervisor.processes.templates.template_selection import Images, Note
from mindbot_worker.protocol import template_messages

Born = Callable[[Ref, Child], None]
Failed = Callable[[Ref, str], None]
RanShort = Callable[[Ref, str], None]


class Launcher:
    """Starts workers for the engine.

    For each `start` that was not withdrawn one of `born`, `failed` and `ran_short` is called: the worker runs, or
    cannot be started, or the host has nothing left to start it with. `agent_failed` is told why the agent can never
    work, and says whether that is the end.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        born: Born,
        failed: Failed,
        ran_short: RanShort,
        orphaned: Callable[[list[Ref]], None],
        agent_failed: Callable[[str], bool],
    ) -> None:
        self._images = Images(launch, self)
        self.agent_failed = agent_failed
        self._born, self._failed, self._ran_short = born, failed, ran_short
        self._waiting: list[Ref] = []
        self.jobservers = Jobservers(orphaned, self._images.jobserver_lost)

    # -- for the engine ------------------------------------------------------------------------------------------------

    @property
    def launch(self) -> Launch:
        """What workers are started with from now on."""
        return self._images.launch

    @launch.setter
    def launch(self, launch: Launch) -> None:
        self._images.launch = launch

    def tell(self, note: Note) -> None:
        """Note from now on what becomes of templates."""
        self._images.note = note

    def prepare(self) -> None:
        """Build the template before the first worker is wanted."""
        self._images.prepare()

    def check_code(self) -> None:
        """An operator wants new workers: the next ones must not run code that has changed on disk since."""
        self._images.check_code()

    def start(self, ref: Ref) -> None:
        """Start a worker; `born` or `failed` follows, at once or when the template has answered."""
        if self._images.checking:
            self._waiting.append(ref)
        elif (image := self._images.fitting()) is not None:
            self._waiting.append(ref) if image.busy else self._fork(image, ref)
        else:
            try:
                coming = self._images.is_coming()
            except OSError as exc:
                self._not_started(ref, "cannot start a template", exc)
                return
            self._waiting.append(ref) if coming else self._exec(ref)

    def withdraw(self, ref: Ref) -> bool:
        """True: the worker will never be born. False: it is being forked, and an answer follows as ever."""
        if ref in self._waiting:
            self._waiting.remove(ref)
        return not self._images.owe(ref)

    @property
    def template(self) -> Template | None:
        """The one that forks workers now."""
        return self._images.in_use.template if self._images.in_use is not None else None

    def resume(self, pid: int, pidfd: int, sock: int, output: int, *, fits: bool) -> None:
        """Go on with the template of the version before this one."""
        self._images.resume(pid, pidfd, sock, output, fits=fits)

    def describe(self) -> dict[str, object]:
        """For the status: how workers are started now, and why not from a template where one is wanted."""
        image, why = self._images.in_use or self._images.coming, self._images.why_none
        if not self.launch.agent or image is None:
            return {"launcher": "exec", **({"launcher_detail": why} if why else {})}
        template, jobserver = image.template.pid, self.jobservers.of(image.template.pid)
        return {
            "launcher": "template",
            "template": {"pid": template, "ready": image.ready},
            **({"jobserver": {"pid": jobserver}} if jobserver else {}),
        }

    def pids(self) -> set[int]:
        """Children that are no workers."""
        return self._images.pids()

    def helpers(self) -> frozenset[int]:
        """Processes that work for all workers together: templates and their job servers."""
        return frozenset({*self.pids(), *(pid for pid, _, _ in self.jobservers.known())})

    async def close(self) -> None:
        """End all templates; their workers are gone by now."""
        await self._images.close()
        self.jobservers.close()

    # -- for the images ------------------------------------------------------------------------------------------------

    def built(self, image: Image, jobserver: int) -> None:
        if jobserver:
            self.jobservers.watch(jobserver, image.template.pid)

    def serve(self) -> None:
        waiting, self._waiting = self._waiting, []
        for ref in waiting:
            self.start(ref)

    def serve_by_exec(self) -> None:
        waiting, self._waiting = self._waiting, []
        for ref in waiting:
            self._exec(ref)

    def run_short(self, why: str) -> None:
        waiting, self._waiting = self._waiting, []
        for ref in waiting:
            self._ran_short(ref, why)

    def wait_again(self, refs: list[Ref]) -> None:
        self._waiting += refs

    def delivered(self, image: Image, message: Mapping[str, Any]) -> None:
        found = image.answered(str(message.get("worker")))
        if found is not None:
            self._delivered(image, *found, message)
        if self._waiting and not image.busy:
            self.start(self._waiting.pop(0))

    def _delivered(self, image: Image, ref: Ref, pipes: Pipes, message: Mapping[str, Any]) -> None:
        if message.get("say") != template_messages.FORKED:
            pipes.close_ours()
            self._not_started(ref, "cannot fork a worker", OSError(message.get("errno"), str(message.get("why"))))
            return
        try:
            born = pipes.child(int(message.get("pid", 0)))
        except OSError as exc:
            pipes.close_ours()
            self._not_started(ref, "cannot watch the worker", exc)
            return
        self.jobservers.used_by(ref, image.template.pid)
        self._born(ref, born)

    # -- the two ways --------------------------------------------------------------------------------------------------

    def _fork(self, image: Image, ref: Ref) -> None:
        try:
            image.fork(ref)
        except OSError as exc:
            if resource_shortage.is_one(exc):
                why = f"cannot fork a worker: {resource_shortage.explain(exc)}"
                self._ran_short(ref, why)
                self.run_short(why)
            else:
                self._exec(ref)

    def _exec(self, ref: Ref) -> None:
        launch = self.launch
        try:
            started = child_process.spawn(launch.command, launch.environ_of(ref), launch.popen)
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
        self._born(ref, started)

    def _not_started(self, ref: Ref, what: str, exc: OSError) -> None:
        """Only for what the host has nothing left of, nobody is to blame."""
        if resource_shortage.is_one(exc):
            self._ran_short(ref, f"{what}: {resource_shortage.explain(exc)}")
        else:
            self._failed(ref, f"{what}: {exc.strerror}")
