"""Completion by the shell's Tab key: `completion SHELL` prints what a shell needs for it."""

from __future__ import annotations

from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]  # not marked as public

from mindbot_supervisor.cli.terminal import output
from mindbot_supervisor.cli.typer_classes import Command, did_you_mean, new_app
from mindbot_supervisor.errors import BadUsage

SHELLS = ("bash", "zsh", "fish")
app = new_app()


@app.command("completion", cls=Command)
def completion(
    context: typer.Context,
    shell: Annotated[
        str,
        typer.Argument(
            metavar="|".join(SHELLS), help="the shell", show_default=False, autocompletion=lambda: list(SHELLS)
        ),
    ],
) -> None:
    """Print the completion script of a shell, as in: source <(mindbot-supervisor completion bash)"""
    if shell not in SHELLS:
        meant = did_you_mean(shell, SHELLS)
        raise BadUsage(f'there is no completion for "{shell}"{meant}; there is one for {", ".join(SHELLS)}')
    name = context.find_root().info_name or ""
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    output.say(*get_completion_script(prog_name=name, complete_var=variable, shell=shell).splitlines())
