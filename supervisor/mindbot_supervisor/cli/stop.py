"""`stop`: end the daemon and wait until it is gone."""

from __future__ import annotations

import os
import select
from typing import Annotated

import typer

from mindbot_supervisor import client
from mindbot_supervisor.errors import SupervisorError

from . import options, output
from .answers import expected_from
from .options import flags_of, socket_path
from .typer_classes import Command, new_app

app = new_app()


@app.command("stop", cls=Command)
def stop(
    context: typer.Context,
    now: Annotated[bool, typer.Option("--now", help="do not wait for calls: cut them")] = False,
    socket: options.Socket = None,
) -> None:
    """End the daemon: calls are finished first. Waits until it is gone."""
    path = socket_path(flags_of(context))
    answer = client.ask(path, "POST", "/stop", {"now": now})
    with expected_from(path):
        pid, calls = int(answer["pid"]), int(answer["calls"])
    if calls and not now:
        output.note(f"waiting for {calls} calls to end; `stop --now` cuts them")
    _wait(pid)
    output.say(f"stopped (pid {pid}){f'; {calls} live calls were cut' if calls and now else ''}")


def _wait(pid: int) -> None:
    """Until the process has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (OSError, OverflowError) as exc:
        raise SupervisorError(f"the daemon was told to stop, but cannot be watched as pid {pid}: {exc}") from exc
    try:
        select.select([pidfd], [], [])
    finally:
        os.close(pidfd)
