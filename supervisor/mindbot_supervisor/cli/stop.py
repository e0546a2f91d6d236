"""`stop`: end the daemon and wait until it is gone."""

from __future__ import annotations

import argparse
import os
import select
import sys

from mindbot_supervisor import client

from .options import Subparsers, add_command, socket_path


def add(commands: Subparsers) -> None:
    parser = add_command(commands, "stop", "End the daemon: calls are finished first. Waits until it is gone.", stop)
    parser.add_argument("--now", action="store_true", help="do not wait for calls: cut them")


def stop(options: argparse.Namespace) -> int:
    answer = client.ask(socket_path(options), "POST", "/stop", {"now": options.now})
    if answer["calls"] and not options.now:
        sys.stderr.write(f"waiting for {answer['calls']} calls to end; `stop --now` cuts them\n")
    _wait(int(answer["pid"]))
    return 0


def _wait(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([pidfd], [], [])
    finally:
        os.close(pidfd)
