"""`python -m mindbot_worker.template`: imports the agent, then forks workers for the supervisor that started it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

from mindbot_config.standard_descriptors import open_standard
from mindbot_worker import arguments, environment, shortage, stacks, wire_template
from mindbot_worker.failures import RanShort, WorkerFailure
from mindbot_worker.output.redaction import redactor
from mindbot_worker.output.stdio import guard

NAME = "mindbot-image"
"""What it calls itself, in /proc/PID/comm."""


def main() -> int:
    open_standard()
    given = arguments.read("mindbot_worker.template", {"agent": ""}, sys.argv[1:])
    fd = environment.take_fd(os.environ, wire_template.SOCKET_FD)
    folder = environment.runtime_dir(os.environ)
    if fd is None or folder is None:
        sys.stderr.write("mindbot_worker.template is started by mindbot-supervisor, with a socket and a directory\n")
        return arguments.USAGE
    Path("/proc/self/comm").write_text(NAME)
    guard(redactor(os.environ))
    stacks.arm()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=fd.detach())
    sock.set_inheritable(False)
    return _live(sock, given["agent"] or None, folder)


def _live(sock: socket.socket, reference: str | None, folder: Path) -> int:
    began = time.monotonic()
    from mindbot_worker.template import safety

    for name, value in safety.SINGLE_THREADED.items():
        os.environ.setdefault(name, value)
    from mindbot_worker.template import jobserver, loading, newborn
    from mindbot_worker.template.freshness import Sources
    from mindbot_worker.template.serving import say, serve

    try:
        modules = loading.load(reference)
        if why := safety.why_not():
            say(sock, {"say": wire_template.UNSAFE, "why": why})
            return 0
        loading.settle()
        pid = jobserver.start(folder, modules, sock)
    except WorkerFailure as failure:
        return _failed(sock, failure)
    except Exception as exc:
        if (short := shortage.behind(exc)) is None:
            raise
        return _failed(sock, RanShort(f"cannot build the template: {shortage.explain(short)}"))
    seconds = round(time.monotonic() - began, 3)
    say(sock, {"say": wire_template.READY, "seconds": seconds, "jobserver": pid})
    birth = serve(sock, Sources())
    if birth is None:
        return 0
    newborn.settle(birth, sock)
    from mindbot_worker.program import Program

    return Program(reference).run()


def _failed(sock: socket.socket, failure: WorkerFailure) -> int:
    wire_template.send(sock, {"say": wire_template.FAILED, "why": str(failure), "code": failure.code})
    return failure.code


if __name__ == "__main__":
    sys.exit(main())
