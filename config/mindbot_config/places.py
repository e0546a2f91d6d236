"""The few settings that say where the daemon is, read without the others: what every client command needs.

To read and check all settings takes ten times as long as the rest of such a command.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mindbot_config import read_file

_NAMES = ("socket", "runtime_dir", "state_dir")
_VARIABLES = {f"MINDBOT_{name.upper()}": name for name in _NAMES}
_ENV_FILE = ("MINDBOT_ENV", "MINDBOT_ENV__FILE")


class Found(NamedTuple):
    """The settings of these names; None where nothing was given."""

    socket: Path | None = None
    runtime_dir: Path | None = None
    state_dir: Path | None = None


def find(config: Path | None, environ: Mapping[str, str]) -> Found | None:
    """From variables and the TOML file. None where that is not enough: an env file may say more, or one is not right.

    Raises ConfigError for a file that cannot be read.
    """
    table = read_file.find_toml(environ)[1] if config is None else read_file.read_toml(config)
    if "env" in table or any(name.upper() in _ENV_FILE for name in environ):
        return None
    given: dict[str, Any] = {name: table[name] for name in _NAMES if name in table}
    for name, value in environ.items():
        if name in _VARIABLES:
            given[_VARIABLES[name]] = value
        elif name.upper() in _VARIABLES:
            return None
    if not all(isinstance(value, str) and not value.startswith("~") and "\0" not in value for value in given.values()):
        return None
    return Found(**{name: Path(value) for name, value in given.items() if value})
