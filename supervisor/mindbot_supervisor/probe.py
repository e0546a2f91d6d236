"""Can the installed version take over? The daemon runs this before an upgrade; it reads the settings and the state.

    python -m mindbot_supervisor.probe FD ARGUMENT…

Exit code 0 if it can; otherwise one line on stderr says why not.
"""

from __future__ import annotations

import sys


def main() -> int:
    fd, arguments = int(sys.argv[1]), sys.argv[2:]
    try:
        import uvloop  # noqa: F401

        from . import app, handover  # noqa: F401
        from .cli.entry_point import parse_run
        from .cli.options import load

        handover.read(fd)
        load(parse_run(arguments))
    except SystemExit as exc:
        return int(exc.code or 0)
    except BaseException as exc:
        sys.stderr.write(f"{type(exc).__name__}: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
