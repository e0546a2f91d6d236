"""The classes of typer's commands and groups as this command line uses them: quick to start, and plain where piped."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from mindbot_supervisor.cli.terminal import output
from mindbot_supervisor.errors import BadUsage

HELP = {"help_option_names": ["-h", "--help"]}


class Command(TyperCommand):
    """A command whose values of plain types are taken as they are, and whose help is written as all other output."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [_as_it_is(each) for each in super().get_params(ctx)]

    def get_help_option(self, ctx: Any) -> Any:
        return _with_our_output(super().get_help_option(ctx))


class Group(TyperGroup):
    """Commands below one name; a wrong name is told with the ones that were probably meant."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [_as_it_is(each) for each in super().get_params(ctx)]

    def get_help_option(self, ctx: Any) -> Any:
        return _with_our_output(super().get_help_option(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, *rest = args
        found = self.get_command(ctx, name)
        if found is None and not ctx.resilient_parsing:
            raise BadUsage(f'there is no command "{name}"{did_you_mean(name, self.list_commands(ctx))}{see(ctx)}')
        return (name if found is not None else None), found, rest


class CommandWithNumbers(Command):
    """A command whose argument may be a negative number, as in `scale -1`: to typer it looks like a flag."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        numbers = [each for each in args if each[:1] == "-" and each[1:].isdecimal()]
        if numbers and "--" not in args:
            args = [each for each in args if each not in numbers] + ["--", *numbers]
        return super().parse_args(ctx, args)


def new_app(**settings: Any) -> typer.Typer:
    """A typer app of ours: help with frames and colours on a terminal only."""
    mode: Any = "rich" if output.on_terminal() else None
    return typer.Typer(
        cls=settings.pop("cls", Group),
        add_completion=settings.pop("add_completion", False),
        rich_markup_mode=mode,
        pretty_exceptions_enable=False,
        context_settings=HELP,
        **settings,
    )


def usage_error(exc: typer.TyperException) -> BadUsage:
    """What typer has found wrong, in one line."""
    option = getattr(exc, "option_name", None)
    near = getattr(exc, "possibilities", None)
    ctx = getattr(exc, "ctx", None)
    message = exc.format_message().strip().rstrip(".")
    if near is not None and option:
        message = f"there is no flag {option}{did_you_mean(option, near)}"
    return BadUsage(f"{message[:1].lower()}{message[1:]}{see(ctx) if ctx is not None else ''}")


def did_you_mean(given: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(given, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def see(ctx: Any) -> str:
    """Where the right use is told."""
    return f"; see {ctx.command_path} --help"


def _with_our_output(option: Any) -> Any:
    if option is not None:
        option.callback = _show_help
    return option


def _show_help(ctx: Any, _: Any, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        text = ctx.get_help()
        if text:  # rich prints it by itself
            output.say(*text.splitlines())
        ctx.exit()


def _as_it_is(param: Any) -> Any:
    """The parameter without a conversion of text to text, for which typer loads pydantic: 0.2 s for each command."""
    if "process_value" in vars(param):
        return param
    convert, kind = param.process_value, getattr(getattr(param, "type_descriptor", None), "annotation", None)

    def process(ctx: Any, value: Any) -> Any:
        plain = type(value) is kind if value is not None else not param.required
        if not plain or kind not in (str, int, bool):
            return convert(ctx, value)
        return param.callback(ctx, param, value) if param.callback is not None else value

    param.process_value = process
    _without_its_type(param)
    return param


def _without_its_type(param: Any) -> None:
    """In the help: that a name is a <str> and a flag a <bool> says nothing."""
    if getattr(param, "is_flag", False):
        param.metavar = ""
    elif param.param_type_name == "argument":
        param.display_type_rich = lambda ctx: None
