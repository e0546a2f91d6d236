"""`run`: the daemon."""

from __future__ import annotations

import argparse
import gc
import os

from .common import Subparsers, add_command, add_settings_flags, bad_config, load


def add(commands: Subparsers) -> None:
    parser = add_command(commands, "run", "Run the daemon (the default command).", run)
    add_settings_flags(parser)
    parser.add_argument("--local", action="store_true", help="local stand-ins for LiveKit, OpenAI and Deepgram")


def run(options: argparse.Namespace) -> int:
    gc.disable()  # imports leave no garbage, and to look for some takes a twentieth of the start
    environ = dict(os.environ)
    loaded = load(options, environ)
    from mindbot_config.errors import ConfigError
    from mindbot_supervisor import app

    gc.freeze()
    gc.enable()
    try:
        return app.run(loaded, app.Options(local=options.local), lambda: load(options, environ))
    except ConfigError as exc:
        raise bad_config(exc) from exc
