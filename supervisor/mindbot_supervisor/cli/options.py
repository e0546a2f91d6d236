"""What several commands share: their flags, the settings, and where the daemon is."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mindbot_supervisor.errors import USAGE, BadConfig

if TYPE_CHECKING:
    from mindbot_config.sources import Loaded

Subparsers = Any
"""argparse keeps the type of `add_subparsers()` private."""


def add_command(
    commands: Subparsers, name: str, help_text: str, handler: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """A subcommand with the flags that every command has."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=help_text)
    parser.set_defaults(handler=handler)
    parser.add_argument("--socket", metavar="PATH", help="the control socket (also MINDBOT_SOCKET)")
    return parser


def add_settings_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that `run` shares with whatever shows or checks its settings."""
    add = parser.add_argument
    add("--workers", metavar="N", help="how many workers are kept ready (4)")
    add("--agent", metavar="MODULE:ATTR", help="the livekit.agents.AgentServer that every worker runs (MindBot)")
    add("--command", metavar='"CMD …"', help="run any program in each slot instead of an agent")
    add("--config", metavar="FILE", help="settings in TOML (./mindbot.toml, then /etc/mindbot/mindbot.toml)")
    add("--env-file", metavar="FILE", help="credentials and other variables, NAME=value lines")
    add("--log-level", metavar="LEVEL", help="debug, info, warning or error (info)")
    add("--log-format", metavar="FORMAT", help="json or console (json)")
    add("--http", metavar="HOST:PORT", help='the read-only pages; "off" serves none (127.0.0.1:8090)')


def load(options: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> Loaded:
    """The settings from flags, environment and files. Raises BadConfig; a bad flag is a usage error."""
    from mindbot_config.errors import ConfigError
    from mindbot_config.sources import load as load_settings

    config = getattr(options, "config", None)
    try:
        return load_settings(_given(options), Path(config) if config else None, environ)
    except ConfigError as exc:
        raise bad_config(exc) from exc


def bad_config(exc: ValueError) -> BadConfig:
    error = BadConfig(str(exc))
    problems = getattr(exc, "problems", ())
    if problems and all("(flag --" in problem or problem.startswith("flag --") for problem in problems):
        error.code = USAGE
    return error


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The flags that were given, nested as the settings are."""
    places = {
        "socket": ("socket",),
        "workers": ("pool", "workers"),
        "agent": ("pool", "agent"),
        "command": ("pool", "command"),
        "env_file": ("env", "file"),
        "log_level": ("log", "level"),
        "log_format": ("log", "format"),
        "http": ("http", "listen"),
    }
    nested: dict[str, Any] = {}
    for name, (*sections, key) in places.items():
        value = getattr(options, name, None)
        if value is not None:
            place = nested
            for section in sections:
                place = place.setdefault(section, {})
            place[key] = value
    return nested


def socket_path(options: argparse.Namespace) -> Path:
    """Where the daemon's control socket is: the flag, MINDBOT_SOCKET, or what the settings say."""
    if options.socket or os.environ.get("MINDBOT_SOCKET"):
        return Path(options.socket or os.environ["MINDBOT_SOCKET"])
    from mindbot_config import places
    from mindbot_config.errors import ConfigError
    from mindbot_config.paths import resolve

    config = getattr(options, "config", None)
    try:
        found = places.find(Path(config) if config else None, os.environ)
        return resolve(found or load(options).settings, os.environ, os.geteuid()).socket
    except ConfigError as exc:
        raise bad_config(exc) from exc
