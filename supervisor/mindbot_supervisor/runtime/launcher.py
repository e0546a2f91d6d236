"""How a worker comes to life: forked from the template where that is possible, else started by exec.

Whatever goes wrong with templates, a worker is started by exec instead, which is slower and always works; the log says
why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mindbot_supervisor.core.model import Ref
from mindbot_worker import wire_template

from . import child
from .child import Child
from .image import Image
from .images import Images, Note
from .jobservers import Jobservers
from .launch import Launch
from .template import Template

Born = Callable[[Ref, Child], None]
Failed = Callable[[Ref, str], None]


class Launcher:
    """Starts workers for the engine. `born` and `failed` are called once for each `start`, unless it was withdrawn."""

    def __init__(self, launch: Launch, *, born: Born, failed: Failed, orphaned: Callable[[list[Ref]], None]) -> None:
        self._images = Images(launch, self)
        self._born, self._failed = born, failed
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
            self._fork(image, ref)
        elif self._images.is_coming():
            self._waiting.append(ref)
        else:
            self._exec(ref)

    def withdraw(self, ref: Ref) -> bool:
        """True: the worker will never be born. False: it is being forked, and `born` or `failed` follows as ever."""
        if ref not in self._waiting:
            return False
        self._waiting.remove(ref)
        return True

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

    def wait_again(self, refs: list[Ref]) -> None:
        self._waiting += refs

    def delivered(self, image: Image, message: Mapping[str, Any]) -> None:
        found = image.answered(str(message.get("worker")))
        if found is None:
            return
        ref, pipes = found
        if message.get("say") != wire_template.FORKED:
            pipes.close_ours()
            self._failed(ref, f"cannot fork a worker: {message.get('why')}")
            return
        try:
            born = pipes.child(int(message.get("pid", 0)))
        except OSError as exc:
            pipes.close_ours()
            self._failed(ref, f"cannot watch the worker: {exc.strerror}")
            return
        self.jobservers.used_by(ref, image.template.pid)
        self._born(ref, born)

    # -- the two ways --------------------------------------------------------------------------------------------------

    def _fork(self, image: Image, ref: Ref) -> None:
        try:
            asked = image.fork(ref)
        except OSError as exc:
            self._failed(ref, f"cannot open pipes: {exc.strerror}")
            return
        if not asked:
            self._exec(ref)

    def _exec(self, ref: Ref) -> None:
        try:
            started = child.spawn(self.launch.command, self.launch.environ_of(ref))
        except OSError as exc:
            self._failed(ref, f"cannot start {self.launch.command[0]}: {exc.strerror}")
            return
        self._born(ref, started)
