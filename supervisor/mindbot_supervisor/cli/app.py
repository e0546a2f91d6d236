"""The typer app: which file has which command, and how a command line without a command is read.

A command's file is imported when the command is used, so that `status` does not wait for what only the daemon needs.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.main import get_command, get_group

from mindbot_supervisor.cli.options import Socket, flags_of
from mindbot_supervisor.cli.terminal import output
from mindbot_supervisor.cli.typer_classes import Group, new_app, usage_error
from mindbot_supervisor.errors import BadUsage

MODULES = {
    "run": "run",
    "status": "status",
    "explain": "explain",
    "profile": "profile",
    "restart": "operate",
    "drain": "operate",
    "scale": "operate",
    "reload": "operate",
    "upgrade": "operate",
    "hold": "operate",
    "release": "operate",
    "stop": "operate",
    "config": "config",
    "completion": "completion",
    "help": "help",
}
"""The commands in the order of the help, and the module of `commands/` that has each."""
DEFAULT = "run"
PROGRAM = "mindbot-supervisor"
OWN_FLAGS = ("-h", "--help", "--version", "--install-completion", "--show-completion")
"""Flags of the command line itself."""


class Commands(Group):
    """All commands; `run` is meant where none is named."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return find(cmd_name) if cmd_name in MODULES else None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if ctx.resilient_parsing and not args else with_command(args))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The flags of `run` too: they may stand without it."""
        found = super().shell_complete(ctx, incomplete)
        if not incomplete.startswith("-"):
            return found
        run = find(DEFAULT)
        theirs = run.shell_complete(run.make_context(DEFAULT, [], parent=ctx, resilient_parsing=True), incomplete)
        known = {each.value for each in found}
        return [*found, *(each for each in theirs if each.value not in known)]


def find(name: str) -> Any:
    """The command of this name, its module imported."""
    module = importlib.import_module(f"{__package__}.commands.{MODULES[name]}")
    return get_group(module.app).commands[name]


def commands() -> Any:
    """The whole command line."""
    app = new_app(cls=Commands, add_completion=True, epilog="Every command: mindbot-supervisor COMMAND --help")
    app.callback()(_before_the_command)
    return get_command(app)


def with_command(arguments: list[str]) -> list[str]:
    """The arguments with `run` where they name no command."""
    before, rest = _split(arguments)
    return [*before, *rest]


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before the command, `--socket PATH` at most, and the rest from the command on."""
    at = 0
    while at < len(arguments) and arguments[at].partition("=")[0] == "--socket":
        at += 1 if "=" in arguments[at] else 2
    before, rest = arguments[:at], arguments[at:]
    if rest and (not rest[0].startswith("-") or rest[0] in OWN_FLAGS):
        return before, rest
    return before, [DEFAULT, *rest]


def flags_of_run(arguments: list[str]) -> dict[str, Any]:
    """What the arguments give the daemon, without running it. Raises BadUsage where they are another command's."""
    _, (name, *rest) = _split(arguments)
    if name != DEFAULT:
        raise BadUsage(f'"{name}" is not the command that runs the daemon')
    try:
        root = commands().make_context(PROGRAM, list(arguments))
        return flags_of(find(name).make_context(name, rest, parent=root))
    except typer.TyperException as exc:
        raise usage_error(exc) from exc


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        output.say(f"mindbot-supervisor {version('mindbot-supervisor')}")
        raise typer.Exit


def _before_the_command(
    socket: Socket = None,
    version: Annotated[
        bool, typer.Option("--version", help="print the version and exit", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """A call-aware supervisor for LiveKit voice agents. Without a command it runs the daemon."""
