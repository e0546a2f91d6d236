"""Counts each error once, whoever sees it first: the session, the agent's own code, or the entrypoint that it ended."""

from __future__ import annotations

import contextlib

_MARK = "__mindbot_counted__"


def is_new(error: object) -> bool:
    """Whether this error was not asked about before. What cannot be marked is always new."""
    if getattr(error, _MARK, False):
        return False
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        setattr(error, _MARK, True)
    return True
