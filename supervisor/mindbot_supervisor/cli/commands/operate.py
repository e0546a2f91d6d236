"""`restart`, `drain`, `scale`, `reload`, `upgrade`, `hold`, `release` and `stop`: what operators do to a running pool.

Each says in a line what was done.
"""

from __future__ import annotations

import os
import re
import select
import time
from typing import Annotated, Any

import typer

from mindbot_supervisor import client
from mindbot_supervisor.cli import options
from mindbot_supervisor.cli.commands.rollout import LOOK_EVERY, follow
from mindbot_supervisor.cli.options import flags_of, socket_path
from mindbot_supervisor.cli.terminal import output
from mindbot_supervisor.cli.typer_classes import Command, CommandWithNumbers, new_app
from mindbot_supervisor.client import expected_from
from mindbot_supervisor.errors import BadUsage, SupervisorError

UPGRADE_TIMEOUT = 70.0
"""Seconds until the daemon has proved that the new version can start."""
WORKERS_MAX = 1024

app = new_app()
NoWait = Annotated[bool, typer.Option("--no-wait", help="do not wait until the workers are replaced")]


@app.command("restart", cls=Command)
def restart(
    context: typer.Context,
    worker: options.WorkerOrAll,
    now: Annotated[bool, typer.Option("--now", help="migrate calls instead of waiting for their end")] = False,
    no_wait: NoWait = False,
    socket: options.Socket = None,
) -> None:
    """Replace a worker, or all, each behind a ready replacement."""
    path = socket_path(flags_of(context))
    answer = client.ask(path, "POST", "/restart", {"worker": worker, "now": now})
    with expected_from(path):
        what = _slots(answer["restarting"])
    if no_wait:
        output.say(f"restarting {what}")
    else:
        follow(path, f"{what} had no worker to replace; a new one is started")


@app.command("drain", cls=Command)
def drain(context: typer.Context, worker: options.WorkerOrAll, socket: options.Socket = None) -> None:
    """Let a worker, or all, finish; the slot stays empty until restart."""
    path = socket_path(flags_of(context))
    answer = client.ask(path, "POST", "/drain", {"worker": worker})
    with expected_from(path):
        slots, calls = answer["draining"], int(answer.get("calls", 0))
        first = f"; {calls} live calls end first" if calls else ""
        fill = f"restart {slots[0]}" if len(slots) == 1 else "restart all"
        what = f"draining {_slots(slots)}" if answer.get("workers", True) else f"{_slots(slots)} is empty already"
        output.say(f"{what}{first}; `{fill}` fills {'it' if len(slots) == 1 else 'them'} again")


@app.command("scale", cls=CommandWithNumbers)
def scale(
    context: typer.Context,
    workers: Annotated[
        str,
        typer.Argument(metavar="N|+N|-N", help="so many workers, or so many more or fewer", show_default=False),
    ],
    socket: options.Socket = None,
) -> None:
    """Have so many workers, or so many more or fewer."""
    asked = _asked(workers)
    path = socket_path(flags_of(context))
    answer = client.ask(path, "POST", "/scale", asked)
    with expected_from(path):
        before, after = answer.get("before"), answer["workers"]
        output.say(f"{before} → {after} workers" if before is not None else f"{after} workers")


def _asked(text: str) -> dict[str, object]:
    """What the daemon is asked for. Raises BadUsage for what no pool can do."""
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text) or abs(number := int(text)) > WORKERS_MAX:
        raise BadUsage(f'"{text}": must be N, +N or -N, a whole number up to {WORKERS_MAX}')
    return {"change": number} if text[0] in "+-" else {"workers": number}


@app.command("reload", cls=Command)
def reload(context: typer.Context, no_wait: NoWait = False, socket: options.Socket = None) -> None:
    """Read settings and env file again, and roll what changed."""
    path = socket_path(flags_of(context))
    answer = client.ask(path, "POST", "/reload", {})
    with expected_from(path):
        output.say(f"changed: {', '.join(answer['changed']) or 'nothing'}")
        if answer.get("not_applied"):
            output.say(f"only at the next start of the daemon: {', '.join(answer['not_applied'])}")
        rolling = answer["rolling"]
    if rolling and not no_wait:
        follow(path)


@app.command("upgrade", cls=Command)
def upgrade(context: typer.Context, socket: options.Socket = None) -> None:
    """Become the installed version, in place: no worker and no call notices."""
    path = socket_path(flags_of(context))
    client.ask(path, "POST", "/upgrade", {}, timeout=UPGRADE_TIMEOUT)
    time.sleep(LOOK_EVERY * 2)  # it answers first, and becomes the new one then
    answer = client.ask(path, "GET", "/status", timeout=UPGRADE_TIMEOUT)  # a busy host takes long to load it
    with expected_from(path):
        output.say(f"version {answer['supervisor']['version']}, pid {answer['supervisor']['pid']}")


@app.command("hold", cls=Command)
def hold(context: typer.Context, socket: options.Socket = None) -> None:
    """No automatic restarts until release (hard reasons still act)."""
    already = "already " if _post(context, "hold").get("before") else ""
    output.say(f"{already}held: no automatic restarts until `release`, but for workers that crash or hang")


@app.command("release", cls=Command)
def release(context: typer.Context, socket: options.Socket = None) -> None:
    """Allow automatic restarts again."""
    held = _post(context, "release").get("before", True)
    output.say("released: automatic restarts are allowed again" if held else "nothing was held")


def _post(context: typer.Context, name: str) -> dict[str, Any]:
    return client.ask(socket_path(flags_of(context)), "POST", f"/{name}", {})


def _slots(indexes: list[int]) -> str:
    """ "slot 0", "slots 0, 1 and 2", or their number where there are many."""
    names = [str(int(index)) for index in indexes]
    if len(names) == 1:
        return f"slot {names[0]}"
    return f"slots {', '.join(names[:-1])} and {names[-1]}" if 1 < len(names) <= 8 else f"{len(names)} slots"


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
