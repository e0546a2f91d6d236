"""Can the installed version take over? The daemon runs this before an upgrade, with the state that it would hand over.

    python -P -m mindbot_supervisor.cli.upgrade_probe FD ARGUMENT…

FD is a socket. Each message that comes is a word and a file with the state. The answer is the word and the digest of
the state, and only this program gives it, once all that the new daemon would do with both has been done; or it is why
not. How this program ends, and what it prints, says nothing.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from mindbot_config.output import strict_json

if TYPE_CHECKING:
    from mindbot_config.load import Loaded

WORD_MAX = 256
"""Bytes of a message."""
WHY_MAX = 2000


def main() -> int:
    asking = socket.socket(fileno=int(sys.argv[1]))
    found, why = _load(sys.argv[2:])
    while True:
        word, fds, _, _ = socket.recv_fds(asking, WORD_MAX, 1)
        if not word:
            return 0
        answer = {"refused": why} if found is None else _judge(found, fds, word.decode())
        asking.send(strict_json.dump_bytes(answer))


def _load(arguments: list[str]) -> tuple[Loaded | None, str]:
    """The settings, once all code is loaded; or why that is not possible."""
    try:
        import uvloop  # noqa: F401

        from mindbot_supervisor.cli import upgrade_rehearsal
        from mindbot_supervisor.cli.entry_point import parse_run
        from mindbot_supervisor.cli.options import load

        upgrade_rehearsal.load_everything()
        return load(parse_run(arguments)), ""
    except BaseException as exc:
        return None, _words(exc)


def _judge(loaded: Loaded, fds: list[int], word: str) -> dict[str, Any]:
    from mindbot_supervisor.cli import upgrade_rehearsal
    from mindbot_supervisor.upgrade import state_file

    try:
        (fd,) = fds
        upgrade_rehearsal.rehearse(state_file.read(fd), loaded)
        return {"word": word, "state": state_file.digest(fd)}
    except BaseException as exc:
        return {"refused": _words(exc)}
    finally:
        for each in fds:
            os.close(each)


def _words(exc: BaseException) -> str:
    """One line; an error of ours is meant for people, and needs no name."""
    text = " ".join(str(exc).split())[:WHY_MAX]
    if type(exc).__module__.startswith(("mindbot_supervisor", "mindbot_config")) and text:
        return text
    if isinstance(exc, SystemExit):
        return f"it ended by itself with {text or 0}"
    return f"{type(exc).__name__}: {text}"


if __name__ == "__main__":
    sys.exit(main())
