"""The settings in force, and how new ones take their place: by command, by SIGHUP, or when the env file has changed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mindbot_config.errors import ConfigError
from mindbot_config.files.read_file import in_thread
from mindbot_config.keys import values
from mindbot_config.load import Loaded
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.workers.model import Reason
from mindbot_supervisor.daemon.configuration import auto_limits, from_settings, run_mode
from mindbot_supervisor.daemon.configuration.run_mode import Mode
from mindbot_supervisor.daemon.engine.engine import Engine
from mindbot_supervisor.errors import Refused, SupervisorError
from mindbot_supervisor.monitoring.background_tasks import BackgroundTasks
from mindbot_supervisor.observability.status import Json
from mindbot_supervisor.processes.launching.launch_options import LaunchOptions
from mindbot_supervisor.processes.limits.descriptor_limit import DescriptorLimit

FIXED = frozenset({"socket", "runtime_dir", "state_dir", "http.listen", "log.file", "log.format", "pool.command"})
"""Settings that only a restart of the daemon changes."""
SUPERVISORS_OWN = tuple(
    f"MINDBOT_{section}__" for section in ("LIMITS", "RESTART", "RECOVERY", "USAGE", "HTTP", "NOTIFY")
)
SUPERVISORS_KEYS = frozenset(
    {"MINDBOT_POOL__WORKERS", "MINDBOT_POOL__START_TIMEOUT", "MINDBOT_POOL__STOP_TIMEOUT", "MINDBOT_ENV__WATCH"}
)
"""Variables that a worker does not look at: a change of theirs needs no new worker."""
WORKERS_TOO = frozenset(f"MINDBOT_LIMITS__{name}" for name in ("BEAT_INTERVAL", "MAX_DISCONNECTS", "DISCONNECT_WINDOW"))


@dataclass(frozen=True, slots=True)
class Difference:
    """Keys of settings that changed, names of variables that did, and why workers must be replaced, if they must."""

    keys: tuple[str, ...]
    variables: tuple[str, ...]
    not_applied: tuple[str, ...]
    roll: Reason | None

    def fields(self) -> dict[str, object]:
        """For the log: names only, never a value."""
        found: dict[str, object] = {"changed": [*self.keys, *self.variables]}
        if self.not_applied:
            found["not_applied"] = list(self.not_applied)
            found["detail"] = "these take effect when the daemon is restarted"
        return found


def difference(old: Loaded, new: Loaded, before: LaunchOptions, after: LaunchOptions) -> Difference:
    """What changed between two loads, and between what their workers are started with."""
    then, now = values(old.settings), values(new.settings)
    keys = tuple(key for key in then if then[key] != now[key])
    changed = _changed(before.environ, after.environ)
    concerns = [name for name in changed if _concerns_workers(name)]
    roll = None
    if concerns or list(before.command) != list(after.command):
        ours = any(name.startswith("MINDBOT_") for name in concerns) or list(before.command) != list(after.command)
        roll = Reason.CONFIG if ours else Reason.ENV
    variables = tuple(name for name in concerns if not name.startswith("MINDBOT_"))
    return Difference(keys, variables, tuple(key for key in keys if key in FIXED), roll)


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> Iterable[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _concerns_workers(name: str) -> bool:
    if name in WORKERS_TOO:
        return True
    return not name.startswith(SUPERVISORS_OWN) and name not in SUPERVISORS_KEYS


READ_WITHIN = 8.0
"""Seconds that reading all of them may take; a single file has less (read_file.WITHIN)."""
LOOK_WITHIN = 3.0
"""Seconds in which the file system must say whether the env file has changed."""


@dataclass(slots=True)
class Reloader:
    """Puts new settings in force. `load` reads the same sources again; `followers` are all but the engine that take new
    settings.
    """

    loaded: Loaded
    load: Callable[[], Loaded]
    launch_of: Callable[[Loaded], LaunchOptions]
    followers: list[Callable[[Loaded], None]]
    note: Callable[..., None]
    engine: Engine
    mode: Mode
    runtime_dir: Path
    descriptors: DescriptorLimit
    tasks: BackgroundTasks
    before: LaunchOptions | None = None
    """What workers were started with before the last reload."""
    _seen: tuple[Path | None, tuple[int, int, int]] | None = None
    """The env file at the last look, and its stamp."""
    _env_silent: bool = False
    """It was told that the env file's file system does not answer."""
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _look: asyncio.Task[None] | None = None

    async def reload(self) -> Json:
        """Read settings and env file again and put them in force. Raises Refused where they are bad: nothing changes
        then.
        """
        async with self._one_at_a_time:
            new = await self._read()
            if self.engine.pool.stopping:
                raise Refused("the daemon is stopping")
            return self._put_in_force(new)

    async def _read(self) -> Loaded:
        try:
            new = await off_loop(self.load, READ_WITHIN)
            run_mode.check(new, self.mode)
            from_settings.check_command(new)
            from_settings.check_room(new, self.descriptors)
        except TimeoutError as exc:
            raise self._rejected(f"the settings could not be read within {READ_WITHIN:g} s") from exc
        except OSError as exc:
            raise self._rejected(f"the settings could not be read: {exc.strerror}") from exc
        except (ConfigError, SupervisorError) as exc:
            raise self._rejected(str(exc)) from exc
        return new

    def _rejected(self, why: str) -> Refused:
        self.note(log_events.CONFIG_REJECTED, "error", detail=why)
        return Refused(f"{why}; the old settings stay in force")

    def _put_in_force(self, new: Loaded) -> Json:
        old, engine, now = self.loaded, self.engine, time.monotonic()
        launch = self.launch_of(new)
        found = difference(old, new, engine.launch, launch)
        self.note(log_events.SUPERVISOR_RELOADED, **found.fields())
        for warning in new.warnings:
            self.note(log_events.CONFIG_WARNED, "warning", detail=warning)
        self.loaded, self.before, engine.launch = new, engine.launch, launch
        engine.launcher.check_code()
        engine.pool.follow(auto_limits.policy(new.settings))
        for follow in self.followers:
            follow(new)
        self.recover()
        if new.settings.pool.workers != old.settings.pool.workers:
            engine.carry_out(engine.pool.scale(new.settings.pool.workers, now))
        if found.roll is not None:
            engine.carry_out(engine.pool.restart(list(engine.pool.slots), now, found.roll))
        return {**found.fields(), "rolling": found.roll is not None}

    def reload_in_background(self) -> None:
        """Reload without an answer to anybody; a refusal is in the log."""
        self.tasks.start(self._reload_or_say())

    async def _reload_or_say(self) -> None:
        with contextlib.suppress(Refused):
            await self.reload()

    def recover(self) -> None:
        """Recover calls by the settings in force."""
        from_settings.follow(self.engine, self.loaded.settings, self.engine.launch.environ, self.runtime_dir)

    def go_back(self) -> None:
        """Start workers with the options from before the last reload: a rollout has stopped, and those are known to
        work.
        """
        if self.before is not None:
            self.engine.launch = self.before

    def watch_env(self) -> None:
        """Reload when the env file was changed, where that is wanted; to be called every second."""
        if self.loaded.settings.env.watch and (self._look is None or self._look.done()):
            self._look = self.tasks.start(self._look_at_env())

    async def _look_at_env(self) -> None:
        file = self.loaded.settings.env.file
        try:
            stamp = await off_loop(partial(env_stamp, file), LOOK_WITHIN)
        except (TimeoutError, OSError):
            if not self._env_silent:
                detail = f"env file {file}: no answer within {LOOK_WITHIN:g} s; what was read before stays in force"
                self.note(log_events.CONFIG_REJECTED, "error", detail=detail)
            self._env_silent = True
            return
        self._env_silent = False
        if stamp is None:
            return
        before, self._seen = self._seen, (file, stamp)
        if before is not None and before[0] == file and before[1] != stamp:
            self.note(log_events.ENV_CHANGED, file=str(file))
            await self._reload_or_say()


def env_stamp(path: Path | None) -> tuple[int, int, int] | None:
    """Time, inode and size of the file, which change with it; None while it is missing (an editor is replacing it)."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size) if found is not None else None


Result = TypeVar("Result")


async def off_loop(function: Callable[[], Result], within: float) -> Result:
    """Run `function` in a thread, and return or raise what it does. TimeoutError after `within` seconds: the thread is
    abandoned, and its result lost.

    Not `asyncio.to_thread`: a thread of that pool that hangs would keep the daemon from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def done(result: Any, problem: BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed by now
            loop.call_soon_threadsafe(settle, result, problem)

    def settle(result: Any, problem: BaseException | None) -> None:
        if future.done():
            return
        if problem is None:
            future.set_result(result)
        else:
            future.set_exception(problem)

    in_thread(function, done)
    async with asyncio.timeout(within):
        return await future  # type: ignore[no-any-return]
