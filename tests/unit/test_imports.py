"""Who may import what: import-linter's contracts in pyproject.toml, and that they would notice."""

import tomllib
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


@pytest.mark.parametrize("name", [contract["id"] for contract in CONTRACTS])
def test_the_contract_is_kept(name, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    code = lint_imports(str(ROOT / "pyproject.toml"), limit_to_contracts=(name,), cache_dir=None, no_logo=True)
    assert code == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_a_broken_contract_is_noticed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    broken = tmp_path / "broken.toml"
    broken.write_text(
        "[tool.importlinter]\nroot_packages = ['mindbot_config', 'mindbot_worker', 'mindbot_supervisor']\n"
        "[[tool.importlinter.contracts]]\nid = 'upside-down'\nname = 'upside down'\ntype = 'layers'\n"
        "layers = ['mindbot_supervisor.core', 'mindbot_supervisor.daemon']\n"
    )
    code = lint_imports(str(broken), cache_dir=None, no_logo=True)
    assert code != EXIT_STATUS_SUCCESS
    assert "upside down BROKEN" in capsys.readouterr().out
