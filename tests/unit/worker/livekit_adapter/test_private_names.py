"""Private names of LiveKit are used in livekit_adapter/ and nowhere else in the worker."""

import ast
from pathlib import Path

import pytest

import mindbot_worker

PACKAGE = Path(mindbot_worker.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "livekit_adapter")
PUBLIC = {("os", "_exit")}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def private_names(source: str) -> list[str]:
    """Attributes of other objects than `self` and `cls`, and imports from LiveKit, that begin with an underscore."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if owner not in ("self", "cls") and (owner, node.attr) not in PUBLIC and not is_own(node, source):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("livekit"):
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            found += [f"{node.module}: {part}" for part in parts if is_private(part)]
    return found


def is_own(node: ast.Attribute, source: str) -> bool:
    """Whether the file itself defines the attribute: an instance may look into another one of its class."""
    return f"self.{node.attr}" in source or f"def {node.attr}(" in source


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_uses_no_private_name_of_livekit(path):
    assert private_names(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    ["server._proc_pool", "super()._run()", "from livekit.rtc import _ffi_client", "from livekit.agents._x import y"],
)
def test_a_private_name_is_noticed(source):
    assert private_names(source) != []
