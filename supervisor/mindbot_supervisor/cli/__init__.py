"""The command line: the typer app, what its commands share, and in `commands/` the commands themselves.

It may import the settings, the control socket's client and, in `run` alone, the daemon; what a command needs is
imported when the command is used. Nothing here decides anything about workers, and only entry points import it.
"""

from mindbot_supervisor.cli.entry_point import main

__all__ = ["main"]
