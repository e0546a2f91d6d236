"""docs/security.md and docs/security-workers.md name tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = "".join((ROOT / "docs" / name).read_text() for name in ("security.md", "security-workers.md"))
NAMED = sorted(set(re.findall(r"(?:tests/)?((?:functional|unit|live)/[\w/]+(?:\.py)?)", TEXT)))


def test_many_tests_are_named():
    assert len(NAMED) > 30


@pytest.mark.parametrize("name", NAMED)
def test_the_test_is_there(name):
    assert (ROOT / "tests" / name).exists()
