"""Who may import what: import-linter's contracts in pyproject.toml, and that they would notice."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")
BROKEN = """
[tool.importlinter]
root_packages = ["mindbot_config", "mindbot_worker", "mindbot_supervisor"]

[[tool.importlinter.contracts]]
id = "upside-down"
name = "upside down"
type = "layers"
layers = ["mindbot_supervisor.core", "mindbot_supervisor.daemon"]
"""


def lint(config: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the linter sets up logging for all."""
    command = [str(LINTER), "--config", str(config), "--no-cache"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_the_contracts_are_kept():
    done = lint(ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout


def test_a_broken_contract_is_noticed(tmp_path):
    (tmp_path / "broken.toml").write_text(BROKEN)
    done = lint(tmp_path / "broken.toml")
    assert done.returncode == 1
    assert "upside down BROKEN" in done.stdout
