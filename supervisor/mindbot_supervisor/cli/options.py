"""What several commands share: their flags, the settings that these make, and where the daemon is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mindbot_supervisor.cli.worker_names import workers
from mindbot_supervisor.errors import USAGE, BadConfig, BadUsage

if TYPE_CHECKING:
    from mindbot_config.load import Loaded

Flags = Mapping[str, Any]
"""The values of a command's flags by name, None for those that were not given: `typer.Context.params`."""

Socket = Annotated[str | None, typer.Option(metavar="PATH", help="the control socket (also MINDBOT_SOCKET)")]
Json = Annotated[bool, typer.Option("--json", help="the whole answer as JSON")]
Worker = Annotated[
    str,
    typer.Argument(
        metavar="WORKER",
        help='"slot.generation", such as 0.1, or a slot, such as 0',
        autocompletion=workers,
        show_default=False,
    ),
]
WorkerOrAll = Annotated[
    str,
    typer.Argument(
        metavar="WORKER|all",
        help='"slot.generation", such as 0.1, a slot, such as 0, or all',
        autocompletion=workers,
        show_default=False,
    ),
]

# The flags that `run` shares with whatever shows or checks its settings.
Workers = Annotated[str | None, typer.Option(metavar="N", help="how many workers are kept ready (4)")]
Agent = Annotated[
    str | None,
    typer.Option(metavar="MODULE:ATTR", help="the livekit.agents.AgentServer that every worker runs (MindBot)"),
]
Command = Annotated[
    str | None, typer.Option(metavar='"CMD ..."', help="run any program in each slot instead of an agent")
]
Config = Annotated[
    str | None, typer.Option(metavar="FILE", help="settings in TOML (./mindbot.toml, then /etc/mindbot/mindbot.toml)")
]
EnvFile = Annotated[str | None, typer.Option(metavar="FILE", help="credentials and other variables, NAME=value lines")]
LogLevel = Annotated[str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error (info)")]
LogFormat = Annotated[str | None, typer.Option(metavar="FORMAT", help="json or console (json)")]
Http = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help='the read-only pages; "off" serves none (127.0.0.1:8090)'),
]

PLACES = {
    "socket": ("socket",),
    "workers": ("pool", "workers"),
    "agent": ("pool", "agent"),
    "command": ("pool", "command"),
    "env_file": ("env", "file"),
    "log_level": ("log", "level"),
    "log_format": ("log", "format"),
    "http": ("http", "listen"),
}
"""Which setting each flag is."""


def flags_of(context: typer.Context) -> dict[str, Any]:
    """The flags of the command, and `--socket` where it stands before the command."""
    before = context.find_root().params.get("socket")
    given = dict(context.params)
    if given.get("socket") is None:
        given["socket"] = before
    return given


def load(flags: Flags, environ: Mapping[str, str] = os.environ) -> Loaded:
    """The settings from flags, environment and files. Raises BadConfig; a bad flag is a usage error."""
    from mindbot_config.errors import ConfigError
    from mindbot_config.load import load as load_settings

    config = flags.get("config")
    try:
        return load_settings(_nested(flags), Path(config) if config else None, environ)
    except ConfigError as exc:
        raise bad_config(exc) from exc


def bad_config(exc: ValueError) -> BadConfig:
    error = BadConfig(str(exc))
    problems = getattr(exc, "problems", ())
    if problems and all("(flag --" in problem or problem.startswith("flag --") for problem in problems):
        error.code = USAGE
    return error


def _nested(flags: Flags) -> dict[str, Any]:
    """The flags that were given, nested as the settings are."""
    nested: dict[str, Any] = {}
    for name, (*sections, key) in PLACES.items():
        value = flags.get(name)
        if value is not None:
            place = nested
            for section in sections:
                place = place.setdefault(section, {})
            place[key] = value
    return nested


def socket_path(flags: Flags) -> Path:
    """Where the daemon's control socket is: the flag, MINDBOT_SOCKET, or what the settings say."""
    given = flags.get("socket")
    if given == "":
        raise BadUsage("--socket must be the path of a socket, and is empty")
    if given or os.environ.get("MINDBOT_SOCKET"):
        return Path(given or os.environ["MINDBOT_SOCKET"])
    from mindbot_config.errors import ConfigError
    from mindbot_config.files.paths import find, resolve

    config = flags.get("config")
    try:
        found = find(Path(config) if config else None, os.environ)
        return resolve(found or load(flags).settings, os.environ, os.geteuid()).socket
    except ConfigError as exc:
        raise bad_config(exc) from exc
