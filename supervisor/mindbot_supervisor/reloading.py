"""The settings in force, and how new ones take their place: by command, by SIGHUP, or when the env file has changed.

Files are read beside the event loop: whatever stands in their place, the pool is looked after meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mindbot_config.errors import ConfigError
from mindbot_config.load import Loaded

from . import auto_limits, from_settings, mode, recover
from .core import events
from .errors import Refused, SupervisorError
from .mode import Mode
from .off_loop import off_loop
from .ops.view import Json
from .reload import difference
from .runtime.descriptor_limit import DescriptorLimit
from .runtime.engine import Engine
from .runtime.launch import Launch

READ_WITHIN = 8.0
"""Seconds that reading all of them may take; a single file has less (read_file.WITHIN)."""
LOOK_WITHIN = 3.0
"""Seconds in which the file system must say whether the env file has changed."""


@dataclass(slots=True)
class Reloader:
    """`load` reads the same sources again; `followed` tells everybody but the engine about new settings."""

    loaded: Loaded
    load: Callable[[], Loaded]
    launch_of: Callable[[Loaded], Launch]
    followed: Callable[[Loaded], None]
    note: Callable[..., None]
    engine: Engine
    mode: Mode
    runtime_dir: Path
    descriptors: DescriptorLimit
    before: Launch | None = None
    """What workers were started with before the last reload."""
    _seen: tuple[Path | None, tuple[int, int, int]] | None = None
    """The env file at the last look, and its stamp."""
    _env_silent: bool = False
    """It was told that the env file's file system does not answer."""
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _look: asyncio.Task[None] | None = None

    async def reload(self) -> Json:
        """Read settings and env file again, and let follow what changed. A bad one changes nothing: Refused."""
        async with self._one_at_a_time:
            new = await self._read()
            if self.engine.pool.stopping:
                raise Refused("the daemon is stopping")
            return self._put_in_force(new)

    async def _read(self) -> Loaded:
        try:
            new = await off_loop(self.load, READ_WITHIN)
            mode.check(new, self.mode)
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
        self.note(events.CONFIG_REJECTED, "error", detail=why)
        return Refused(f"{why}; the old settings stay in force")

    def _put_in_force(self, new: Loaded) -> Json:
        old, engine, now = self.loaded, self.engine, time.monotonic()
        launch = self.launch_of(new)
        found = difference(old, new, engine.launch, launch)
        self.note(events.SUPERVISOR_RELOADED, **found.fields())
        for warning in new.warnings:
            self.note(events.CONFIG_WARNED, "warning", detail=warning)
        self.loaded, self.before, engine.launch = new, engine.launch, launch
        engine.launcher.check_code()
        engine.pool.follow(auto_limits.policy(new.settings))
        self.followed(new)
        self.recover()
        if new.settings.pool.workers != old.settings.pool.workers:
            engine.carry_out(engine.pool.scale(new.settings.pool.workers, now))
        if found.roll is not None:
            engine.carry_out(engine.pool.restart(list(engine.pool.slots), now, found.roll))
        return {**found.fields(), "rolling": found.roll is not None}

    def reload_in_background(self) -> None:
        """Where nobody waits for the answer; a refusal is in the log."""
        task = asyncio.get_running_loop().create_task(self._reload_or_say())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload_or_say(self) -> None:
        with contextlib.suppress(Refused):
            await self.reload()

    def recover(self) -> None:
        """Recover calls by the settings in force."""
        recover.follow(self.engine, self.loaded.settings, self.engine.launch.environ, self.runtime_dir)

    def go_back(self) -> None:
        """A rollout stopped: what the kept workers run is known to work."""
        if self.before is not None:
            self.engine.launch = self.before

    def watch_env(self) -> None:
        """Reload when the env file was changed, where that is wanted; to be called every second."""
        if self.loaded.settings.env.watch and (self._look is None or self._look.done()):
            self._look = asyncio.get_running_loop().create_task(self._look_at_env())

    async def _look_at_env(self) -> None:
        file = self.loaded.settings.env.file
        try:
            stamp = await off_loop(partial(env_stamp, file), LOOK_WITHIN)
        except (TimeoutError, OSError):
            if not self._env_silent:
                detail = f"env file {file}: no answer within {LOOK_WITHIN:g} s; what was read before stays in force"
                self.note(events.CONFIG_REJECTED, "error", detail=detail)
            self._env_silent = True
            return
        self._env_silent = False
        if stamp is None:
            return
        before, self._seen = self._seen, (file, stamp)
        if before is not None and before[0] == file and before[1] != stamp:
            self.note(events.ENV_CHANGED, file=str(file))
            await self._reload_or_say()


def env_stamp(path: Path | None) -> tuple[int, int, int] | None:
    """What changes when the file does, or None while it is not there (an editor is replacing it)."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size) if found is not None else None
