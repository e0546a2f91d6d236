"""The environment of child processes: all of the daemon's own, but for what was told to the daemon alone.

It holds for workers, their template, the local stand-ins and the tools that `profile` starts.
"""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = frozenset(
    {
        "NOTIFY_SOCKET",
        "CREDENTIALS_DIRECTORY",
        "FDSTORE",
        "MINDBOT_HANDOVER_FD",
        "MINDBOT_WEBHOOK_SECRET",
        "MINDBOT_NOTIFY",
        "MINDBOT_HTTP",
    }
)
_PREFIXES = ("WATCHDOG_", "LISTEN_", "MINDBOT_NOTIFY__", "MINDBOT_HTTP__")
"""What systemd passes to a service, and the settings that no worker reads: a webhook's URL holds a token."""


def for_children(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a child process may see."""
    return {name: value for name, value in environ.items() if not is_the_daemons_own(name)}


def is_the_daemons_own(name: str) -> bool:
    upper = name.upper() if name[:8].upper() == "MINDBOT_" else name  # settings may be written in any case
    return upper in _NAMES or upper.startswith(_PREFIXES)
