"""Prepares a run of the daemon: whatever can be wrong is found here, before anything is started."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from mindbot_config.credentials import Credentials
from mindbot_config.files.paths import Paths, resolve
from mindbot_config.load import Loaded
from mindbot_supervisor.daemon.configuration import from_settings, run_mode
from mindbot_supervisor.daemon.configuration.run_mode import Mode
from mindbot_supervisor.daemon.runtime_files import listening_sockets
from mindbot_supervisor.daemon.runtime_files.listening_sockets import Sockets
from mindbot_supervisor.observability.logging.log import Logs, utc_now
from mindbot_supervisor.observability.logging.log_sink import Sink
from mindbot_supervisor.processes.limits.descriptor_limit import DescriptorLimit
from mindbot_supervisor.upgrade import state_file
from mindbot_supervisor.upgrade.state_file import State


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says beside the settings."""

    local: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run begins with. `state` is what the version before an upgrade handed over, else None."""

    loaded: Loaded
    mode: Mode
    livekit_server: str | None
    """Where the program was found, if it was."""
    paths: Paths
    descriptors: DescriptorLimit
    sockets: Sockets
    sink: Sink
    logs: Logs
    state: State | None = None
    started: float = field(default_factory=time.monotonic)
    """When the daemon began, on the monotonic clock; an upgrade does not change it."""


def prepare(loaded: Loaded, options: Options) -> Prepared:
    """Claim the runtime directory and the sockets, and open the log. Raises ConfigError or SupervisorError."""
    credentials = Credentials.from_environ(loaded.environ)
    server = run_mode.find_server(loaded.environ)
    mode = run_mode.choose(loaded.settings, credentials, local=options.local, server=server)
    paths = resolve(loaded.settings, loaded.environ, os.geteuid())
    state = state_file.receive(os.environ)
    descriptors = DescriptorLimit.raised(state.descriptors if state is not None else None)
    if state is None:  # what runs already is not ended for a program that is replaced at this moment
        from_settings.check_command(loaded)
        from_settings.check_room(loaded, descriptors)
        sockets = listening_sockets.bind(paths, loaded)
    else:
        sockets = listening_sockets.take_over(paths, state)
    started = time.monotonic() if state is None else state.started
    sink = from_settings.open_log(loaded, resumes=state is not None)
    logs = _logs(loaded, sink)
    return Prepared(loaded, mode, server, paths, descriptors, sockets, sink, logs, state, started)


def _logs(loaded: Loaded, sink: Sink) -> Logs:
    log = loaded.settings.log
    return Logs(sink, level=log.level, style=log.format, redactor=from_settings.redactor(loaded), now=utc_now)
