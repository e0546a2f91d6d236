"""Builds parts of the daemon from the settings: launch options, call recovery, redactor and log; checks them first."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from mindbot_config import keys
from mindbot_config.credentials import Credentials, secret_values
from mindbot_config.errors import ConfigError
from mindbot_config.files.read_file import WITHIN, bounded
from mindbot_config.host import resource_limits
from mindbot_config.load import Loaded
from mindbot_config.output.redaction import Redactor
from mindbot_config.settings import Settings
from mindbot_supervisor.core.calls.recovery_state import Terms
from mindbot_supervisor.daemon.configuration import run_mode
from mindbot_supervisor.daemon.engine.engine import Engine
from mindbot_supervisor.observability.logging.log_sink import Sink
from mindbot_supervisor.processes.launching import executable_check
from mindbot_supervisor.processes.launching.child_environment import for_children
from mindbot_supervisor.processes.launching.launch_options import LaunchOptions, StartProcess
from mindbot_supervisor.processes.limits.descriptor_limit import DescriptorLimit
from mindbot_supervisor.recovery.livekit import LiveKitApi
from mindbot_supervisor.recovery.recovery_tasks import Rescuer
from mindbot_worker.protocol import heartbeat

REQUEST_TIMEOUT = 2.0
"""Seconds for one request to LiveKit; it answers in milliseconds, and a dead server must not use up the deadline."""


def follow(engine: Engine, settings: Settings, environ: Mapping[str, str], runtime_dir: Path) -> None:
    """Recover calls by these settings from now on. `environ` is what the workers get."""
    credentials, wanted = Credentials.from_environ(environ), settings.recovery
    if not wanted.enabled or not credentials.has_livekit or not settings.worker.registered:
        engine.recoveries.employ(None)
        engine.pool.recover_by(None)
        return
    key, secret = credentials.livekit_api_key, credentials.livekit_api_secret
    api = LiveKitApi(credentials.livekit_url, key, secret, timeout=min(REQUEST_TIMEOUT, wanted.deadline))
    engine.recoveries.employ(Rescuer(api, runtime_dir / heartbeat.JOURNALS, settings.pool.agent_name))
    engine.pool.recover_by(Terms(wanted.attempts, wanted.deadline, at_once=moves_at_once()))


def moves_at_once() -> int:
    """How many calls are migrated at a time: one for two cores, as the old agent takes about as much CPU as the new."""
    return max(resource_limits.cpus().whole // 2, 1)


def check_command(loaded: Loaded) -> None:
    """Raises ConfigError for a `pool.command` that can never be run."""
    if not loaded.settings.pool.command:
        return
    why = executable_check.problem(run_mode.worker_command(loaded.settings), for_children(loaded.environ))
    if why:
        raise ConfigError(f"pool.command: {why}")


def check_room(loaded: Loaded, descriptors: DescriptorLimit) -> None:
    """Raises ConfigError for more workers than the daemon may have open files for."""
    if why := descriptors.refusal(loaded.settings.pool.workers):
        raise ConfigError(f"pool.workers: {why}")


def launch(
    loaded: Loaded, runtime_dir: Path, extra: Mapping[str, str], start: StartProcess = subprocess.Popen
) -> LaunchOptions:
    """What workers are started with. `extra` is added to the environment; `start` gives processes their limits."""
    environ = {**for_children(loaded.environ), **extra}
    settings = loaded.settings
    return LaunchOptions(
        run_mode.worker_command(settings), environ, str(runtime_dir), run_mode.template_agent(settings), start
    )


def redactor(loaded: Loaded) -> Redactor:
    """A redactor that masks all that is secret in the environment and in the settings."""
    return Redactor(secret_values(loaded.environ, keys.values(loaded.settings)))


def open_log(loaded: Loaded, *, resumes: bool) -> Sink:
    """Open standard output and the log file, if there is one, as the log. Raises ConfigError where that cannot be
    opened, unless the daemon `resumes` after an upgrade: then it is opened as soon as it can be.
    """
    path = loaded.settings.log.file
    if not resumes:
        check_log_file(loaded)
    try:
        return Sink(1, path, later=resumes)
    except OSError as exc:
        raise ConfigError(f'log.file = "{path}" ({loaded.sources["log.file"]}): {exc.strerror}') from exc


def check_log_file(loaded: Loaded) -> None:
    """Raises ConfigError where the log file cannot be written, or not even be made. Nothing is made here."""
    path = loaded.settings.log.file
    if path is None:
        return
    try:
        why = bounded(partial(_why_not_writable, path), WITHIN)
    except OSError as exc:
        why = exc.strerror or str(exc)
    if why:
        raise ConfigError(f'log.file = "{path}" ({loaded.sources["log.file"]}): cannot be written: {why}')


def _why_not_writable(path: Path) -> str:
    """In words, or empty."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _why_not_makable(path.parent)
    if stat.S_ISLNK(found.st_mode):
        return "it is a symbolic link; name the file itself"
    if not stat.S_ISREG(found.st_mode):
        return "it is a directory" if stat.S_ISDIR(found.st_mode) else "it is no regular file"
    return "" if os.access(path, os.W_OK) else "permission denied"


def _why_not_makable(folder: Path) -> str:
    if not folder.exists():
        return f"there is no directory {folder}"
    if not folder.is_dir():
        return f"{folder} is no directory"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"no permission to make a file in {folder}"
