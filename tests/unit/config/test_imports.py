"""The daemon and its command line import the settings first: they stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mindbot_config

MODULES = sorted(Path(mindbot_config.__file__).parent.rglob("*.py"))
ALLOWED = sys.stdlib_module_names | {"pydantic", "pydantic_settings", "dotenv", "mindbot_config"}
BESIDE = {"resource_limits": {"psutil"}, "log_chain": {"structlog"}, "log_records": {"structlog"}}
"""What single modules may import too."""

PROBE = """
import sys
import mindbot_config.credentials, mindbot_config.load, mindbot_config.files.paths, mindbot_config.show
mindbot_config.load.load({}, None, {})
heavy = {"livekit", "aiohttp", "structlog", "psutil", "mindbot_worker", "mindbot_supervisor"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""
PROBE_OF_COMMANDS = """
import sys
import mindbot_config.files.paths
mindbot_config.files.paths.resolve(mindbot_config.files.paths.find(None, {}), {}, 1)
heavy = {"pydantic", "pydantic_core", "pydantic_settings", "dotenv", "asyncio"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("probe", [PROBE, PROBE_OF_COMMANDS], ids=["settings", "paths"])
def test_nothing_heavy_is_imported_before_it_is_needed(probe: str) -> None:
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_the_settings_depend_on_pydantic_and_dotenv_only(module: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or ".")
    assert {name.partition(".")[0] for name in imported} <= ALLOWED | BESIDE.get(module.stem, set())
