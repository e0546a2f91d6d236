"""What the shell's Tab key offers where a worker is to be named."""

from __future__ import annotations

import contextlib

import typer

TIMEOUT = 1.0
"""Seconds that somebody who has pressed Tab waits at most."""


def workers(context: typer.Context, incomplete: str) -> list[str]:
    """The workers and slots there are; none where no daemon answers. Whatever goes wrong, the shell prints nothing."""
    with contextlib.suppress(Exception):
        from mindbot_supervisor import client
        from mindbot_supervisor.cli.options import flags_of, socket_path

        rows = client.ask(socket_path(flags_of(context)), "GET", "/status", timeout=TIMEOUT)["workers"]
        names = [str(row[key]) for key in ("slot", "worker") for row in rows if row.get(key) is not None]
        return [name for name in dict.fromkeys([*names, "all"]) if name.startswith(incomplete)]
    return []
