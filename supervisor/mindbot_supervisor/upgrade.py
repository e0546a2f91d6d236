"""`upgrade` and SIGUSR2: the daemon becomes its newly installed version, and its workers notice nothing."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, MutableSet
from dataclasses import dataclass

from mindbot_worker.descriptors import Descriptor

from . import handover
from .core import events
from .core.model import Ref
from .core.snapshot import put
from .errors import Refused
from .runtime.child import Child
from .runtime.engine import Engine
from .runtime.rescue import Known

PROBE_TIMEOUT = 60.0
"""Seconds for the new version to show that it can start."""
ANSWER_FIRST = 0.2
"""Seconds in which whoever asked for the upgrade has the answer."""
SETTLE = 5.0
"""Seconds that sweeps of dead workers may take before an upgrade."""


@dataclass(slots=True)
class Upgrader:
    """Upgrades this daemon once it is asked to; `impossible` says why it never can be."""

    engine: Engine
    handed_over: Callable[[], handover.State]
    before_exec: Callable[[], None]
    note: Callable[..., None]
    children: MutableSet[int]
    """Where pids of children that are no workers are noted, so that nobody else reaps them."""
    signals: Collection[signal.Signals]
    impossible: str = ""
    _under_way: bool = False
    _background: asyncio.Future[None] | None = None

    async def upgrade(self) -> None:
        """Become the installed version, a moment later. Refused, and nothing has changed, if that cannot start."""
        why = self.impossible or ("the daemon is stopping" if self.engine.pool.stopping else "")
        if why or self._under_way:
            raise Refused(why or "an upgrade is under way")
        self._under_way = True
        try:
            await probe(self.handed_over(), self.children)
        except Refused as exc:
            self._under_way = False
            self.note(events.UPGRADE_REFUSED, "error", detail=str(exc))
            raise
        asyncio.get_running_loop().call_later(ANSWER_FIRST, lambda: asyncio.ensure_future(self._become()))

    def upgrade_in_background(self) -> None:
        """Where nobody waits for the answer; a refusal is in the log."""
        self._background = asyncio.ensure_future(self._upgrade_or_say())

    async def _upgrade_or_say(self) -> None:
        with contextlib.suppress(Refused):
            await self.upgrade()

    async def _become(self) -> None:
        await self.engine.settled(SETTLE)
        self.before_exec()
        try:
            become(self.handed_over(), self.signals)
        except OSError as exc:
            self._under_way = False
            self.note(events.UPGRADE_REFUSED, "error", detail=f"exec failed: {exc.strerror}")


def children_of(engine: Engine) -> list[handover.ChildState]:
    """What the next version must know of every child that runs."""
    return [
        handover.ChildState(
            slot=ref.slot,
            generation=ref.generation,
            pid=child.pid,
            pidfd=child.pidfd.fileno(),
            beats=child.beats.fileno(),
            leash=child.leash.fileno(),
            output=child.output.fileno(),
            held=base64.b64encode(held).decode(),
        )
        for ref, (child, held) in engine.children().items()
    ]


def template_of(engine: Engine) -> handover.TemplateState | None:
    """The template that forks workers now, if there is one; one that is still being built is left behind."""
    template = engine.launcher.template
    if template is None or template.socket is None:
        return None
    digest = engine.launch.digest()
    pidfd, sock, output = template.pidfd.fileno(), template.socket.fileno(), template.output.fileno()
    return handover.TemplateState(template.pid, pidfd, sock, output, digest)


def jobservers_of(engine: Engine) -> list[handover.JobserverState]:
    return [
        handover.JobserverState(pid, template, [(ref.slot, ref.generation) for ref in users])
        for pid, template, users in engine.launcher.jobservers.known()
    ]


def rescue_of(engine: Engine) -> Known:
    """What recoveries have learned from LiveKit."""
    rescuer = engine.recoveries.rescuer
    return rescuer.known() if rescuer is not None else Known()


def resume_template(engine: Engine, state: handover.State) -> None:
    """Fork from the template of the version before, unless the code has changed since."""
    launcher, found = engine.launcher, state.template
    for each in state.jobservers:
        launcher.jobservers.watch(each.pid, each.template, [Ref(*user) for user in each.users])
    if found is not None:
        launcher.resume(found.pid, found.pidfd, found.socket, found.output, fits=found.digest == engine.launch.digest())


def resume(engine: Engine, state: handover.State) -> None:
    """Go on where the version before was."""
    if engine.recoveries.rescuer is not None:
        engine.recoveries.rescuer.remember(state.rescue)
    put(engine.pool, state.pool, time.monotonic())
    for each in state.children:
        pidfd, beats, leash, output = map(Descriptor, each.fds())
        child = Child(each.pid, pidfd, beats, leash, output)
        engine.resume(Ref(each.slot, each.generation), child, each.held_bytes())
    resume_template(engine, state)


async def probe(state: handover.State, children: MutableSet[int]) -> None:
    """Let the installed version read the state and the settings in a process of its own. Raises Refused."""
    process = _start_probe(state)
    children.add(process.pid)
    try:
        _, errors = await asyncio.to_thread(process.communicate, None, PROBE_TIMEOUT)
    except subprocess.TimeoutExpired as exc:
        process.kill()
        await asyncio.to_thread(process.wait)
        raise Refused(f"the new version did not start within {PROBE_TIMEOUT:.0f} s") from exc
    finally:
        children.discard(process.pid)
    if process.returncode != 0:
        words = errors.decode(errors="replace").strip().splitlines()
        why = words[-1] if words else f"exit code {process.returncode}"
        raise Refused(f"the new version cannot start: {why}; the old one goes on")


def _start_probe(state: handover.State) -> subprocess.Popen[bytes]:
    fd = handover.write(state)
    command = [sys.executable, "-m", "mindbot_supervisor.probe", str(fd), *sys.argv[1:]]
    nothing = subprocess.DEVNULL
    try:
        return subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=subprocess.PIPE, pass_fds=[fd])
    except OSError as exc:
        raise Refused(f"the new version cannot start: {exc.strerror}") from exc
    finally:
        os.close(fd)
        _inheritable(state.fds(), False)


def become(state: handover.State, signals: Collection[signal.Signals]) -> None:
    """Replace this program by the installed version. Returns only by OSError, with everything as it was.

    Signals that arrive meanwhile wait until the new version serves them.
    """
    fd = handover.write(state)
    environ = {**os.environ, handover.VARIABLE: str(fd)}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606
    except OSError:
        os.close(fd)
        _inheritable(state.fds(), False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        raise


def _inheritable(fds: Collection[int], yes: bool) -> None:
    for fd in fds:
        os.set_inheritable(fd, yes)
