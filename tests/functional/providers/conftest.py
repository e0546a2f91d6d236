"""The stand-ins for the providers, and a runtime directory of the host that all clients of a test share."""

from __future__ import annotations

from pathlib import Path

import pytest

from functional.local.conftest import shared, standins  # noqa: F401 (fixtures)
from mindbot_worker.protocol import heartbeat


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(heartbeat.RUNTIME_DIR, str(tmp_path))
    return tmp_path
