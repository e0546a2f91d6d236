"""`run`: the daemon."""

from __future__ import annotations

import gc
import os
from typing import Annotated

import typer

from mindbot_supervisor.cli import options
from mindbot_supervisor.cli.options import bad_config, flags_of, load
from mindbot_supervisor.cli.typer_classes import Command, new_app

app = new_app()


@app.command("run", cls=Command)
def run(
    context: typer.Context,
    workers: options.Workers = None,
    agent: options.Agent = None,
    command: options.Command = None,
    config: options.Config = None,
    env_file: options.EnvFile = None,
    local: Annotated[bool, typer.Option("--local", help="local stand-ins for LiveKit, OpenAI and Deepgram")] = False,
    log_level: options.LogLevel = None,
    log_format: options.LogFormat = None,
    http: options.Http = None,
    socket: options.Socket = None,
) -> int:
    """Run the daemon (the default command)."""
    gc.disable()  # imports leave no garbage, and to look for some takes a twentieth of the start
    flags, environ = flags_of(context), dict(os.environ)
    loaded = load(flags, environ)
    from mindbot_config.errors import ConfigError
    from mindbot_supervisor.daemon import daemon

    gc.freeze()
    gc.enable()
    try:
        return daemon.run(loaded, daemon.Options(local=local), lambda: load(flags, environ))
    except ConfigError as exc:
        raise bad_config(exc) from exc
