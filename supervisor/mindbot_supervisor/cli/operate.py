"""`restart`, `drain`, `scale`, `reload`, `hold` and `release`: what operators do to a running pool."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from mindbot_supervisor import client
from mindbot_supervisor.errors import OK, REFUSED, SupervisorError

from .options import Subparsers, add_command, socket_path

LOOK_EVERY = 0.2
"""Seconds between two looks at a rolling change."""
BAR = 24
UPGRADE_TIMEOUT = 70.0
"""Seconds until the daemon has proved that the new version can start."""


def add(commands: Subparsers) -> None:
    restart = add_command(commands, "restart", "Replace a worker, or all, each behind a ready replacement.", _restart)
    restart.add_argument("worker", metavar="WORKER|all")
    restart.add_argument("--now", action="store_true", help="migrate calls instead of waiting for their end")
    restart.add_argument("--no-wait", action="store_true", help="do not wait until it is done")
    drain = add_command(commands, "drain", "Let a worker, or all, finish; the slot stays empty until restart.", _drain)
    drain.add_argument("worker", metavar="WORKER|all")
    scale = add_command(commands, "scale", "Have so many workers.", _scale)
    scale.add_argument("workers", metavar="N", type=int)
    reload = add_command(commands, "reload", "Read settings and env file again, and roll what changed.", _reload)
    reload.add_argument("--no-wait", action="store_true", help="do not wait until the workers are replaced")
    add_command(commands, "upgrade", "Become the installed version, in place: no worker and no call notices.", _upgrade)
    add_command(commands, "hold", "No automatic restarts until release (hard reasons still act).", _post("hold"))
    add_command(commands, "release", "Allow automatic restarts again.", _post("release"))


def _restart(options: argparse.Namespace) -> int:
    path = socket_path(options)
    client.ask(path, "POST", "/restart", {"worker": options.worker, "now": options.now})
    return OK if options.no_wait else _follow(path)


def _drain(options: argparse.Namespace) -> int:
    client.ask(socket_path(options), "POST", "/drain", {"worker": options.worker})
    return OK


def _scale(options: argparse.Namespace) -> int:
    client.ask(socket_path(options), "POST", "/scale", {"workers": options.workers})
    return OK


def _reload(options: argparse.Namespace) -> int:
    path = socket_path(options)
    answer = client.ask(path, "POST", "/reload", {})
    changed = ", ".join(answer["changed"]) or "nothing"
    print(f"changed: {changed}")
    if answer.get("not_applied"):
        print(f"only at the next start of the daemon: {', '.join(answer['not_applied'])}")
    return _follow(path) if answer["rolling"] and not options.no_wait else OK


def _upgrade(options: argparse.Namespace) -> int:
    """Returns when the new version answers."""
    path = socket_path(options)
    client.ask(path, "POST", "/upgrade", {}, timeout=UPGRADE_TIMEOUT)
    time.sleep(LOOK_EVERY * 2)  # it answers first, and becomes the new one then
    answer = client.ask(path, "GET", "/status")
    print(f"version {answer['supervisor']['version']}, pid {answer['supervisor']['pid']}")
    return OK


def _post(name: str) -> Any:
    def handler(options: argparse.Namespace) -> int:
        client.ask(socket_path(options), "POST", f"/{name}", {})
        return OK

    return handler


def _follow(path: Path) -> int:
    """Show the rolling change until it has ended: a bar on a terminal, a line for each step elsewhere."""
    shown = ""
    while True:
        rollout = client.ask(path, "GET", "/status")["supervisor"]["rollout"]
        if rollout is None:
            return OK
        line = _bar(rollout) if sys.stdout.isatty() else f"{rollout['done']} of {rollout['total']} replaced"
        if line != shown:
            print(f"\r{line}" if sys.stdout.isatty() else line, end="" if sys.stdout.isatty() else "\n", flush=True)
            shown = line
        if not rollout["active"]:
            break
        time.sleep(LOOK_EVERY)
    if sys.stdout.isatty():
        print()
    if rollout.get("detail"):
        error = SupervisorError(f"stopped after {rollout['done']} of {rollout['total']}: {rollout['detail']}")
        error.code = REFUSED
        raise error
    return OK


def _bar(rollout: dict[str, Any]) -> str:
    total = max(rollout["total"], 1)
    filled = BAR * rollout["done"] // total
    return f"[{'#' * filled}{'.' * (BAR - filled)}] {rollout['done']} of {rollout['total']} replaced"
