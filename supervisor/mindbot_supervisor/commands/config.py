"""`config check|show`: validate the settings, or print them with the source of each."""

from __future__ import annotations

import argparse

from .common import Subparsers, add_command, add_settings_flags, bad_config, load

WIDTH_MAX = 32
"""Columns that a long value may push the ones after it."""


def add(commands: Subparsers) -> None:
    parser = add_command(commands, "config", "Check the settings, or show each with its source.", config)
    parser.add_argument("what", choices=("check", "show"))
    add_settings_flags(parser)


def config(options: argparse.Namespace) -> int:
    loaded = load(options)
    from mindbot_config.credentials import Credentials
    from mindbot_config.display import show
    from mindbot_config.errors import ConfigError
    from mindbot_supervisor import from_settings

    credentials = Credentials.from_environ(loaded.environ)
    try:
        credentials.check()
        if options.what == "check":
            from_settings.check_command(loaded)
    except ConfigError as exc:
        raise bad_config(exc) from exc
    if options.what == "check":
        print("the settings are valid")
        return 0
    rows = show(loaded, credentials)
    widths = [min(max(len(row[at]) for row in rows), WIDTH_MAX) for at in range(2)]
    for key, value, source in rows:
        print(f"{key.ljust(widths[0])}  {value.ljust(widths[1])}  {source}")
    return 0
