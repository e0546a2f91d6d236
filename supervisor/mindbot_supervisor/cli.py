"""The command line. Each command is a file in `commands/`; what it needs is imported when it is used."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from mindbot_config.standard_descriptors import open_standard

from .commands import config, explain, operate, profile, run, status, stop
from .errors import INTERNAL, USAGE, SupervisorError

COMMANDS = (run, status, explain, stop, operate, profile, config)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One plain line, not a page of usage."""
        self.exit(USAGE, f"mindbot-supervisor: error: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: see errors.py. Whatever goes wrong is one line on stderr."""
    open_standard()
    options = parse(sys.argv[1:] if argv is None else argv)
    try:
        return int(options.handler(options))
    except SupervisorError as exc:
        return _fail(str(exc), exc.code)
    except BrokenPipeError:  # `mindbot-supervisor status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as exc:
        if os.environ.get("MINDBOT_TRACEBACK"):
            raise
        return _fail(f"internal error: {type(exc).__name__}: {exc}; set MINDBOT_TRACEBACK=1 to see where", INTERNAL)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command and its flags. Exits with USAGE for what it does not know."""
    return _parser().parse_args(_with_command(list(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mindbot-supervisor",
        description="A call-aware supervisor for LiveKit voice agents. Without a command it runs the daemon.",
        epilog="Every command: mindbot-supervisor COMMAND --help",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    for command in COMMANDS:
        command.add(commands)
    return parser


class _Version(argparse.Action):
    """Looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        print(f"mindbot-supervisor {version('mindbot-supervisor')}")
        parser.exit()


def _with_command(arguments: list[str]) -> list[str]:
    """`run` is the command where none is named; `--socket PATH` may stand before the command."""
    leading: list[str] = []
    rest = arguments
    while rest and rest[0].startswith("--socket"):
        width = 1 if "=" in rest[0] else 2
        leading, rest = leading + rest[:width], rest[width:]
    if rest and not rest[0].startswith("-"):
        return [rest[0], *leading, *rest[1:]]
    if rest and rest[0] in ("-h", "--help", "--version"):
        return rest
    return ["run", *leading, *rest]


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"mindbot-supervisor: error: {' '.join(message.split())}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
