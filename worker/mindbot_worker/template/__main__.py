"""`python -m mindbot_worker.template`: imports the agent, then forks workers for the supervisor that started it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

from mindbot_config.host import resource_shortage
from mindbot_config.host.standard_descriptors import open_standard
from mindbot_worker import arguments
from mindbot_worker.logging import setup as output
from mindbot_worker.logging import stack_dump
from mindbot_worker.logging.nonblocking_output import guard
from mindbot_worker.protocol import template_messages
from mindbot_worker.runtime import environment
from mindbot_worker.runtime.shutdown import ResourceShortage, WorkerFailure

NAME = "mindbot-image"
"""The template's process name, in /proc/PID/comm."""


def main() -> int:
    open_standard()
    given = arguments.read("mindbot_worker.template", {"agent": ""}, sys.argv[1:])
    fd = environment.take_fd(os.environ, template_messages.SOCKET_FD)
    folder = environment.runtime_dir(os.environ)
    if fd is None or folder is None:
        sys.stderr.write("mindbot_worker.template is started by mindbot-supervisor, with a socket and a directory\n")
        return arguments.USAGE
    Path("/proc/self/comm").write_text(NAME)
    guard(output.redactor(os.environ))
    stack_dump.arm()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=fd.detach())
    sock.set_inheritable(False)
    return _live(sock, given["agent"] or None, folder)


def _live(sock: socket.socket, reference: str | None, folder: Path) -> int:
    began = time.monotonic()
    from mindbot_worker.template import fork_safety

    for name, value in fork_safety.SINGLE_THREADED.items():
        os.environ.setdefault(name, value)
    from mindbot_worker.livekit_adapter import job_forkserver
    from mindbot_worker.template import forking, imported_code
    from mindbot_worker.template.fork_requests import say, serve
    from mindbot_worker.template.imported_code import SourceFiles

    try:
        modules = imported_code.load(reference)
        if why := fork_safety.why_not():
            say(sock, {"say": template_messages.UNSAFE, "why": why})
            return 0
        imported_code.freeze()
        pid = job_forkserver.start(folder, modules, sock)
    except WorkerFailure as failure:
        return _failed(sock, failure)
    except Exception as exc:
        if (short := resource_shortage.behind(exc)) is None:
            raise
        return _failed(sock, ResourceShortage(f"cannot build the template: {resource_shortage.explain(short)}"))
    seconds = round(time.monotonic() - began, 3)
    say(sock, {"say": template_messages.READY, "seconds": seconds, "jobserver": pid})
    worker = serve(sock, SourceFiles())
    if worker is None:
        return 0
    forking.become_worker(worker, sock)
    from mindbot_worker.runtime.main import Worker

    return Worker(reference).run()


def _failed(sock: socket.socket, failure: WorkerFailure) -> int:
    template_messages.send(sock, {"say": template_messages.FAILED, "why": str(failure), "code": failure.code})
    return failure.code


if __name__ == "__main__":
    sys.exit(main())
