"""`upgrade` and SIGUSR2: the daemon becomes its newly installed version, and its workers notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Collection, MutableSet
from dataclasses import dataclass
from typing import Protocol

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.errors import Refused
from mindbot_supervisor.upgrade import state_file
from mindbot_supervisor.upgrade.new_version_check import NewVersion, own_command

ANSWER_FIRST = 0.2
"""Seconds in which whoever asked for the upgrade has the answer."""
SETTLE = 5.0
"""Seconds that the end of dead workers' trees may take before an upgrade."""


class Engine(Protocol):
    """What an upgrade needs to know of whatever drives the pool."""

    @property
    def pool(self) -> Pool: ...

    async def settled(self, within: float) -> None:
        """Return when no tree of a dead worker is being ended, or after so many seconds."""


@dataclass(slots=True)
class Upgrader:
    """Upgrades this daemon once it is asked to; `impossible` says why it never can be."""

    engine: Engine
    handed_over: Callable[[], state_file.State]
    before_exec: Callable[[], None]
    note: Callable[..., None]
    children: MutableSet[int]
    """Where pids of children that are no workers are noted, so that nobody else reaps them."""
    signals: Collection[signal.Signals]
    impossible: str = ""
    _new: NewVersion | None = None
    """While an upgrade is under way."""
    _background: asyncio.Future[None] | None = None

    async def upgrade(self) -> None:
        """Become the installed version, a moment later. Refused, and nothing has changed, if that cannot start."""
        why = self.impossible or ("the daemon is stopping" if self.engine.pool.stopping else "")
        if why or self._new is not None:
            raise Refused(why or "an upgrade is under way")
        self._new = new = NewVersion(self.children)
        try:
            await new.start(self._state())
        except BaseException as exc:
            self._give_up(new, exc)
            raise
        asyncio.get_running_loop().call_later(ANSWER_FIRST, self._begin, new)

    def upgrade_in_background(self) -> None:
        """Upgrade without an answer to anybody; a refusal is in the log."""
        self._background = asyncio.ensure_future(self._upgrade_or_say())

    async def _upgrade_or_say(self) -> None:
        with contextlib.suppress(Refused):
            await self.upgrade()

    def close(self) -> None:
        """Give up an upgrade that is under way: the daemon ends."""
        if self._new is not None:
            self._new.end()
            self._new = None

    def _begin(self, new: NewVersion) -> None:
        self._background = asyncio.ensure_future(self._become(new))

    async def _become(self, new: NewVersion) -> None:
        """Exec the new version. Returns only if that fails; then everything is as it was."""
        try:
            await self.engine.settled(SETTLE)
            if self.engine.pool.stopping or self._new is not new:
                raise Refused("the daemon is stopping")
            self.before_exec()
            state = self._state()
            proven = new.prove(state)
            new.end()
            become(proven, state, self.signals)
        except BaseException as exc:
            self._give_up(new, exc)

    def _state(self) -> state_file.State:
        """The state to be handed over. Raises Refused where it cannot be put together."""
        try:
            return self.handed_over()
        except Exception as exc:
            raise Refused(f"the state cannot be put together: {type(exc).__name__}: {exc}") from exc

    def _give_up(self, new: NewVersion, why: BaseException) -> None:
        new.end()
        if self._new is new:
            self._new = None
        words = f"exec failed: {why.strerror}" if isinstance(why, OSError) else str(why) or type(why).__name__
        self.note(log_events.UPGRADE_REFUSED, "error", detail=words)


def become(proven: int, state: state_file.State, signals: Collection[signal.Signals]) -> None:
    """Replace this program by the installed version, which finds the state in the file `proven`. Returns only by
    OSError, with everything as it was.

    Signals that arrive meanwhile wait until the new version serves them.
    """
    environ = {**os.environ, state_file.VARIABLE: str(proven)}
    fds = [proven, *state.fds()]
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        state_file.survive_exec(fds, True)
        os.execve(sys.executable, own_command(), environ)  # noqa: S606
    except OSError:
        state_file.survive_exec(fds, False)
        os.close(proven)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        raise
