from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mindbot_config.files import paths

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of the machine it runs on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "SEARCHED", (Path("mindbot.toml"), tmp_path / "etc" / "mindbot.toml"))


@pytest.fixture
def write() -> Write:
    def write(name: str, text: str) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write
