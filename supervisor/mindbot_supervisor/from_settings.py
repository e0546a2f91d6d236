"""What workers are started with, by the settings."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from mindbot_config.errors import ConfigError
from mindbot_config.load import Loaded
from mindbot_config.read_file import WITHIN, bounded

from . import mode
from .child_environment import for_children
from .runtime import executable
from .runtime.descriptor_limit import DescriptorLimit
from .runtime.launch import Launch, StartProcess


def check_command(loaded: Loaded) -> None:
    """Raises ConfigError for a `pool.command` that can never be run."""
    if not loaded.settings.pool.command:
        return
    why = executable.problem(mode.worker_command(loaded.settings), for_children(loaded.environ))
    if why:
        raise ConfigError(f"pool.command: {why}")


def check_room(loaded: Loaded, descriptors: DescriptorLimit) -> None:
    """Raises ConfigError for more workers than the daemon may have open files for."""
    if why := descriptors.refusal(loaded.settings.pool.workers):
        raise ConfigError(f"pool.workers: {why}")


def launch(
    loaded: Loaded, runtime_dir: Path, extra: Mapping[str, str], start: StartProcess = subprocess.Popen
) -> Launch:
    """`extra` is what the local services add to the environment; `start` gives processes their limits."""
    environ = {**for_children(loaded.environ), **extra}
    settings = loaded.settings
    return Launch(mode.worker_command(settings), environ, str(runtime_dir), mode.template_agent(settings), start)


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
