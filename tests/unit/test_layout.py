"""The house of files: small enough folders, small enough files, and a word on each folder of what lives in it."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "config/mindbot_config",
    "supervisor/mindbot_supervisor",
    "worker/mindbot_worker",
)
ENTRIES_MAX, LINES_MAX = 14, 350
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FOLDERS = sorted({path.parent for path in FILES if path.name == "__init__.py"})


def ident(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("folder", FOLDERS, ids=ident)
def test_a_folder_has_few_entries(folder):
    entries = [each.name for each in folder.iterdir() if not each.name.startswith(("__pycache__", "py.typed"))]
    assert len(entries) <= ENTRIES_MAX, sorted(entries)


@pytest.mark.parametrize("path", FILES, ids=ident)
def test_a_file_can_be_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= LINES_MAX


@pytest.mark.parametrize("folder", FOLDERS, ids=ident)
def test_a_folder_says_what_lives_in_it(folder):
    first = (folder / "__init__.py").read_text().split('"""')[1]
    assert len([sentence for sentence in first.replace("\n", " ").split(". ") if sentence.strip()]) >= 2, first
