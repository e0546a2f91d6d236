"""ARCHITECTURE.md names files that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
HOMES = {
    "worker": ROOT / "worker" / "mindbot_worker",
    "config": ROOT / "config" / "mindbot_config",
    "": ROOT / "supervisor" / "mindbot_supervisor",
}
NAMED = sorted(set(re.findall(r"`((?:worker:|config:)?[a-z_/]+(?:\.py|/))`", TEXT)))


def test_many_files_are_named():
    assert len(NAMED) > 40


@pytest.mark.parametrize("name", NAMED)
def test_the_file_is_there(name):
    package, _, path = name.rpartition(":")
    assert (HOMES[package] / path).exists() or (ROOT / path).exists()


@pytest.mark.parametrize(
    "package", sorted(path.name for path in HOMES[""].iterdir() if (path / "__init__.py").is_file())
)
def test_each_folder_of_the_supervisor_is_on_the_map(package):
    assert f"`{package}/" in TEXT
