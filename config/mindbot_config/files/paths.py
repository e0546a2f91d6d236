"""Where the TOML file is looked for, where the daemon keeps its things, and where a client finds its socket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mindbot_config.errors import ConfigError
from mindbot_config.files.read_file import read_toml

SEARCHED = (Path("mindbot.toml"), Path("/etc/mindbot/mindbot.toml"))
"""Where a TOML file is looked for when none is named."""

_SOCKET_MAX = 107
"""Bytes of a Unix socket's path: `sun_path` of unix(7) is 108, with its closing NUL."""


class Paths(NamedTuple):
    """Absolute paths; nothing says that they exist."""

    socket: Path
    runtime_dir: Path
    state_dir: Path


class Places(Protocol):
    """The settings that say where things are; `Settings` has them."""

    @property
    def socket(self) -> Path | None: ...
    @property
    def runtime_dir(self) -> Path | None: ...
    @property
    def state_dir(self) -> Path | None: ...


def resolve(settings: Places, environ: Mapping[str, str], uid: int) -> Paths:
    """What is set wins; the rest follows from systemd's variables, the user, and each other."""
    runtime_dir = (settings.runtime_dir or _beside(settings.socket) or _runtime_dir(environ, uid)).absolute()
    socket = (settings.socket or runtime_dir / "control.sock").absolute()
    if (length := len(os.fsencode(socket))) > _SOCKET_MAX:
        raise ConfigError(f'socket = "{socket}": must be at most {_SOCKET_MAX} bytes long, and has {length}')
    state_dir = (settings.state_dir or _state_dir(environ, uid, runtime_dir)).absolute()
    return Paths(socket, runtime_dir, state_dir)


def _beside(socket: Path | None) -> Path | None:
    if socket is None:
        return None
    if not socket.name:
        raise ConfigError(f'socket = "{socket}": must name a file')
    return socket.with_name(f"{socket.name}.run") if socket.suffix == ".run" else socket.with_suffix(".run")


def _runtime_dir(environ: Mapping[str, str], uid: int) -> Path:
    if given := _systemd(environ, "RUNTIME_DIRECTORY"):
        return given
    if uid == 0:
        return Path("/run/mindbot")
    if user := _absolute(environ, "XDG_RUNTIME_DIR"):
        return user / "mindbot"
    return Path(f"/tmp/mindbot-{uid}")  # noqa: S108


def _state_dir(environ: Mapping[str, str], uid: int, runtime_dir: Path) -> Path:
    if given := _systemd(environ, "STATE_DIRECTORY"):
        return given
    if uid == 0:
        return Path("/var/lib/mindbot")
    if user := _absolute(environ, "XDG_STATE_HOME"):
        return user / "mindbot"
    home = _absolute(environ, "HOME")
    return home / ".local/state/mindbot" if home else runtime_dir / "state"


def _systemd(environ: Mapping[str, str], name: str) -> Path | None:
    """systemd separates several directories by colons; ours is the first."""
    first = environ.get(name, "").partition(":")[0]
    return Path(first) if first else None


def _absolute(environ: Mapping[str, str], name: str) -> Path | None:
    """The XDG specification wants relative paths ignored."""
    path = Path(environ.get(name, ""))
    return path if path.is_absolute() else None


def find_toml(environ: Mapping[str, str]) -> tuple[Path | None, dict[str, Any]]:
    """The file named by MINDBOT_CONFIG, or the first that exists of those searched; and what it says."""
    if named := environ.get("MINDBOT_CONFIG"):
        return Path(named), read_toml(Path(named))
    for path in SEARCHED:
        try:
            return path, read_toml(path)
        except ConfigError as problem:
            if not isinstance(problem.__cause__, FileNotFoundError | NotADirectoryError):
                raise
    return None, {}


# -- the same without all the settings, for client commands ------------------------------------------------------------


class Found(NamedTuple):
    """The settings of these names; None where nothing was given."""

    socket: Path | None = None
    runtime_dir: Path | None = None
    state_dir: Path | None = None


_VARIABLES = {f"MINDBOT_{name.upper()}": name for name in Found._fields}
_ENV_FILE = ("MINDBOT_ENV", "MINDBOT_ENV__FILE")


def find(config: Path | None, environ: Mapping[str, str]) -> Found | None:
    """The settings that say where the daemon is: to read all of them takes ten times as long as a command may.

    None where variables and the TOML file are not enough: an env file may say more, or one is not right. Raises
    ConfigError for a file that cannot be read.
    """
    table = find_toml(environ)[1] if config is None else read_toml(config)
    if "env" in table or any(name.upper() in _ENV_FILE for name in environ):
        return None
    given: dict[str, Any] = {name: table[name] for name in Found._fields if name in table}
    for name, value in environ.items():
        if name in _VARIABLES:
            given[_VARIABLES[name]] = value
        elif name.upper() in _VARIABLES:
            return None
    if not all(isinstance(value, str) and not value.startswith("~") and "\0" not in value for value in given.values()):
        return None
    return Found(**{name: Path(value) for name, value in given.items() if value})
