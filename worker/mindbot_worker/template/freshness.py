"""Whether the code on disk is still the code that this process has imported."""

from __future__ import annotations

import sys
from pathlib import Path


class Sources:
    """Every imported module's file, as it was when this was made."""

    def __init__(self) -> None:
        self._stamps = {path: _stamp(path) for path in _files()}

    def changed(self) -> list[str]:
        """Files that are different now, or gone."""
        return [path for path, stamp in self._stamps.items() if _stamp(path) != stamp]


def _files() -> set[str]:
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {file for file in files if isinstance(file, str)}


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
