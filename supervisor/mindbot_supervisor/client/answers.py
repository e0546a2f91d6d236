"""Reading the daemon's answers: one of an unexpected shape is told in a line, as an answer of something else is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from mindbot_supervisor.errors import Unavailable


@contextlib.contextmanager
def expected_from(path: Path) -> Iterator[None]:
    """Around what takes fields out of an answer. Raises Unavailable where one is missing or of another type."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as exc:
        if os.environ.get("MINDBOT_TRACEBACK"):
            raise
        what = f"{type(exc).__name__}: {exc}"
        raise Unavailable(f"no usable answer from {path}: it is not as this version expects it ({what})") from exc
