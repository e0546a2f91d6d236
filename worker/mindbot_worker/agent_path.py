"""Finds the agent's module, and puts its folder first on sys.path, as `python agent.py` would.

That is done only after LiveKit, this package and the plugins that the agent names are imported.

The working directory is searched for the agent's own module and for nothing else: a file there that happens to have
the name of a library must not become part of the worker.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

FOLDER = "MINDBOT_AGENT_FOLDER"
"""Environment variable that tells LiveKit's forkserver the agent's folder."""

FIRST = (
    "livekit.agents",
    "mindbot_worker.runtime.agent_server",
    "mindbot_worker.jobs.entrypoint",
)
"""Imported before the agent's folder is looked into; after them the plugins that the agent names."""

OURS = frozenset({"livekit", "mindbot_config", "mindbot_supervisor", "mindbot_worker"})
"""Packages that are never searched for in the working directory."""

PLUGINS = "livekit.plugins"
FILES = 100
"""Files of the agent's folder that are looked through for plugins, at most."""


_entered: str | None = None
"""The agent's folder in sys.path. It is kept, as a worker that is forked later may have another working directory."""


@dataclass(frozen=True, slots=True)
class AgentPlace:
    """Where the agent's top-level module is. `folder` is empty where it is installed, and found without one."""

    module: str
    folder: str = ""
    file: str = ""


def find(module: str) -> AgentPlace | None:
    """Find a top-level module in the working directory or among the installed ones, without importing it; else None."""
    folder = _entered if _entered is not None else _working_directory()
    here = PathFinder.find_spec(module, [folder]) if folder and module not in OURS else None
    if here is not None and here.origin is not None:
        return AgentPlace(module, folder, here.origin)
    installed = _installed(module)
    if installed is not None:
        return AgentPlace(module)
    return AgentPlace(module, folder) if here is not None else None


def import_first(place: AgentPlace) -> None:
    """Import LiveKit, the parts of this package that a worker needs, and the plugins that the agent names."""
    for name in FIRST:
        importlib.import_module(name)
    for name in plugins(place):
        with contextlib.suppress(ImportError):  # the agent's own import says what is wrong
            importlib.import_module(name)


def enter(folder: str) -> None:
    """Put the agent's folder first, for this process and the job processes of this worker."""
    global _entered
    _entered = folder
    os.environ.pop(FOLDER, None)
    if folder:
        os.environ[FOLDER] = folder
        sys.path[:] = [folder, *(entry for entry in sys.path if entry not in ("", folder))]


def is_taken(place: AgentPlace) -> bool:
    """Whether a library that is imported already has the name of the agent's module."""
    known = getattr(sys.modules.get(place.module), "__file__", None)
    return bool(place.file) and known is not None and Path(known).resolve() != Path(place.file).resolve()


@contextlib.contextmanager
def without_agent_folder() -> Iterator[None]:
    """Take the agent's folder out of sys.path for the body of a `with`: for imports that are not the agent's."""
    before = list(sys.path)
    sys.path[:] = [entry for entry in sys.path if not _entered or entry != _entered]
    try:
        yield
    finally:
        sys.path[:] = before


def plugins(place: AgentPlace) -> list[str]:
    """The LiveKit plugins that the agent's source files import. The files are parsed, not run."""
    found: dict[str, None] = {}
    waiting, seen = [Path(place.file)] if place.file.endswith(".py") else [], set[Path]()
    while waiting and len(seen) < FILES:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for name, folder in _imported(file, Path(place.folder)):
            if name.startswith(PLUGINS + "."):
                found[".".join(name.split(".")[:3])] = None
            else:
                waiting += _files(name, folder)
    return list(found)


def _imported(file: Path, top: Path) -> Iterator[tuple[str, Path]]:
    """The names in the import statements of a file, wherever they stand in it, and the folder in which each begins."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return  # whoever imports it is told why
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((each.name, top) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            folder = file.parents[node.level - 1] if 0 < node.level <= len(file.parents) else top
            yield from ((f"{node.module}.{each.name}" if node.module else each.name, folder) for each in node.names)


def _files(name: str, folder: Path) -> Iterator[Path]:
    """The files of a module and of the packages it is in, as far as they are in this folder."""
    for part in name.split("."):
        folder /= part
        yield from (file for file in (Path(f"{folder}.py"), folder / "__init__.py") if file.is_file())


def _installed(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None


def _working_directory() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return ""
