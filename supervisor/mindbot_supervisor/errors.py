"""What can go wrong on the supervisor's own side; each error knows the exit code it leads to and is one plain line."""

from __future__ import annotations

OK, REFUSED, USAGE, UNAVAILABLE, INTERNAL, CONFIG = 0, 1, 2, 69, 70, 78
"""Exit codes (the public contract; 69, 70 and 78 as in sysexits.h)."""


class SupervisorError(Exception):
    """Something the operator can act on. The message is one line: what is wrong, where, what would be right."""

    code = INTERNAL


class Refused(SupervisorError):
    """What was asked cannot be done in the present state."""

    code = REFUSED


class BadUsage(SupervisorError):
    """The command line itself is wrong: a flag, a missing argument, a value that no command takes."""

    code = USAGE


class Unavailable(SupervisorError):
    """There is no daemon to talk to."""

    code = UNAVAILABLE


class BadConfig(SupervisorError):
    """The settings can never work."""

    code = CONFIG
