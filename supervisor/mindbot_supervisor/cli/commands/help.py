"""`help`: what a command does and which flags it has, as its `--help` says."""

from __future__ import annotations

from typing import Annotated

import typer

from mindbot_supervisor.cli.typer_classes import Command, new_app

app = new_app()


@app.command("help", cls=Command)
def show_help(
    context: typer.Context,
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="the command", show_default=False)] = "",
    part: Annotated[str, typer.Argument(metavar="PART", help="its part, as in `config show`", show_default=False)] = "",
) -> int:
    """Show what the commands do, or the flags of one of them."""
    words = [word for word in (command, part) if word]
    root = context.find_root()
    return int(root.command.main([*words, "--help"], root.info_name, standalone_mode=False) or 0)
