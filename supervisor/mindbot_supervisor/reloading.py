"""The settings in force, and how new ones take their place: by command, by SIGHUP, or when the env file has changed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mindbot_config.errors import ConfigError
from mindbot_config.sources import Loaded

from . import from_settings, mode, recover
from .core import events
from .errors import Refused, SupervisorError
from .mode import Mode
from .ops.view import Json
from .reload import difference
from .runtime.descriptor_limit import DescriptorLimit
from .runtime.engine import Engine
from .runtime.launch import Launch


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
    _env_stamp: tuple[int, int] | None = None

    def reload(self) -> Json:
        """Read settings and env file again, and let follow what changed. A bad one changes nothing: Refused."""
        try:
            new = self.load()
            mode.check(new, self.mode)
            from_settings.check_command(new)
            from_settings.check_room(new, self.descriptors)
        except (ConfigError, SupervisorError) as exc:
            self.note(events.CONFIG_REJECTED, "error", detail=str(exc))
            raise Refused(f"{exc}; the old settings stay in force") from exc
        old, engine, now = self.loaded, self.engine, time.monotonic()
        launch = self.launch_of(new)
        found = difference(old, new, engine.launch, launch)
        self.note(events.SUPERVISOR_RELOADED, **found.fields())
        self.loaded, self.before, engine.launch = new, engine.launch, launch
        engine.launcher.check_code()
        engine.pool.follow(from_settings.policy(new))
        self.followed(new)
        self.recover()
        if new.settings.pool.workers != old.settings.pool.workers:
            engine.carry_out(engine.pool.scale(new.settings.pool.workers, now))
        if found.roll is not None:
            engine.carry_out(engine.pool.restart(list(engine.pool.slots), now, found.roll))
        return {**found.fields(), "rolling": found.roll is not None}

    def reload_or_say(self) -> None:
        """Where nobody waits for the answer; a refusal is in the log."""
        with contextlib.suppress(Refused):
            self.reload()

    def recover(self) -> None:
        """Recover calls by the settings in force."""
        recover.follow(self.engine, self.loaded.settings, self.engine.launch.environ, self.runtime_dir)

    def go_back(self) -> None:
        """A rollout stopped: what the kept workers run is known to work."""
        if self.before is not None:
            self.engine.launch = self.before

    def watch_env(self) -> None:
        """Reload when the env file was changed, where that is wanted."""
        env = self.loaded.settings.env
        stamp = env_stamp(env.file) if env.watch else None
        if stamp is not None and self._env_stamp is not None and stamp != self._env_stamp:
            self.note(events.ENV_CHANGED, file=str(env.file))
            self.reload_or_say()
        self._env_stamp = stamp if stamp is not None else self._env_stamp


def env_stamp(path: Path | None) -> tuple[int, int] | None:
    """What changes when the file does, or None while it is not there (an editor is replacing it)."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino) if found is not None else None
