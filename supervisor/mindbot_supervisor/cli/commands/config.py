"""`config check|show`: validate the settings, or print them with the source of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mindbot_supervisor.cli import options
from mindbot_supervisor.cli.options import bad_config, flags_of, load
from mindbot_supervisor.cli.terminal import output, tables
from mindbot_supervisor.cli.typer_classes import Command, new_app

if TYPE_CHECKING:
    from mindbot_config.credentials import Credentials
    from mindbot_config.load import Loaded

app = new_app()
parts = new_app()
app.add_typer(parts, name="config", help="Check the settings, or show each with its source.")


@parts.command("check", cls=Command)
def check(
    context: typer.Context,
    workers: options.Workers = None,
    agent: options.Agent = None,
    command: options.Command = None,
    config: options.Config = None,
    env_file: options.EnvFile = None,
    log_level: options.LogLevel = None,
    log_format: options.LogFormat = None,
    http: options.Http = None,
    socket: options.Socket = None,
) -> None:
    """Check the settings."""
    loaded, _ = _checked(context)
    from mindbot_config.errors import ConfigError
    from mindbot_supervisor.daemon.configuration import from_settings

    try:
        from_settings.check_command(loaded)
    except ConfigError as exc:
        raise bad_config(exc) from exc
    output.say("the settings are valid")


@parts.command("show", cls=Command)
def show(
    context: typer.Context,
    workers: options.Workers = None,
    agent: options.Agent = None,
    command: options.Command = None,
    config: options.Config = None,
    env_file: options.EnvFile = None,
    log_level: options.LogLevel = None,
    log_format: options.LogFormat = None,
    http: options.Http = None,
    socket: options.Socket = None,
) -> None:
    """Show each setting with its value and its source; secrets are hidden."""
    loaded, credentials = _checked(context)
    from mindbot_config.show import show as rows_of
    from mindbot_supervisor.daemon.configuration import auto_limits

    rows = rows_of(loaded, credentials, auto_limits.resolved(loaded.settings))
    if output.on_terminal():
        tables.show(("KEY", "VALUE", "SOURCE"), rows)
    else:
        output.say(*tables.plain(rows))


def _checked(context: typer.Context) -> tuple[Loaded, Credentials]:
    """The settings and the credentials. Raises BadConfig for what can never work."""
    loaded = load(flags_of(context))
    from mindbot_config.credentials import Credentials
    from mindbot_config.errors import ConfigError

    credentials = Credentials.from_environ(loaded.environ)
    try:
        credentials.check()
    except ConfigError as exc:
        raise bad_config(exc) from exc
    from mindbot_supervisor.daemon.configuration import from_settings

    try:
        from_settings.check_log_file(loaded)
    except ConfigError as exc:
        raise bad_config(exc) from exc
    for warning in loaded.warnings:
        output.note(f"mindbot-supervisor: warning: {warning}")
    return loaded, credentials
