"""The entry point of the command line: whatever goes wrong is one line on stderr and an exit code of errors.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mindbot_supervisor.errors import INTERNAL, SupervisorError

PROGRAM = "mindbot-supervisor"
INTERRUPTED = 130
"""What shells say of a command that Ctrl-C ended: 128 and the number of SIGINT."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and return its exit code."""
    try:
        from mindbot_supervisor.cli.terminal import standard_streams

        standard_streams.take_over()
        code = _run(list(sys.argv[1:] if argv is None else argv))
        standard_streams.finish()
    except KeyboardInterrupt:
        return INTERRUPTED
    except SupervisorError as exc:
        return _fail(str(exc), exc.code)
    except Exception as exc:
        if os.environ.get("MINDBOT_TRACEBACK"):
            raise
        return _fail(f"internal error: {type(exc).__name__}: {exc}; set MINDBOT_TRACEBACK=1 to see where", INTERNAL)
    return code


def parse_run(arguments: Sequence[str]) -> Mapping[str, Any]:
    """The flags that these arguments give the daemon, without running it. Raises SupervisorError for bad ones."""
    from mindbot_supervisor.cli import app

    return app.flags_of_run(list(arguments))


def _run(arguments: list[str]) -> int:
    import typer

    from mindbot_supervisor.cli import app
    from mindbot_supervisor.cli.typer_classes import usage_error

    try:
        return int(app.commands().main(arguments, app.PROGRAM, standalone_mode=False) or 0)
    except typer.TyperException as exc:
        raise usage_error(exc) from exc
    except typer.Abort:
        return INTERRUPTED
    except SystemExit as exc:  # completion ends so
        return exc.code if isinstance(exc.code, int) else 0


def _fail(message: str, code: int) -> int:
    from mindbot_config.output.printable import printable
    from mindbot_supervisor.cli.terminal.standard_streams import complain

    complain(f"{PROGRAM}: error: {printable(' '.join(message.split()))}")
    return code
