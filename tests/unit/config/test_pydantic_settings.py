"""The settings are loaded by pydantic-settings: with something that raises in its place they are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pydantic_settings
import pytest
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    SecretsSettingsSource,
    TomlConfigSettingsSource,
)

from mindbot_config.load import from_environ, load
from mindbot_config.settings import Settings

LOAD = "from mindbot_config.load import load; load({}, None, {}); print('loaded')"
IN_A_WORKER = "from mindbot_config.load import from_environ; from_environ({}); print('loaded')"


@pytest.mark.parametrize("program", [LOAD, IN_A_WORKER], ids=["daemon", "worker"])
def test_without_pydantic_settings_nothing_is_loaded(program: str, tmp_path: Path) -> None:
    (stand_in := tmp_path / "instead" / "pydantic_settings.py").parent.mkdir()
    stand_in.write_text("raise RuntimeError('not in this test')\n")
    for folder, loaded in (("", True), (str(stand_in.parent), False)):
        environ = {**os.environ, "PYTHONPATH": folder}
        done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
        assert (done.stdout == "loaded\n") is loaded
        assert ("not in this test" in done.stderr) is not loaded


KINDS = [InitSettingsSource, DotEnvSettingsSource, EnvSettingsSource, SecretsSettingsSource, TomlConfigSettingsSource]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_each_source_is_the_librarys_own(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source of the library that raises when it is asked: so does the load, as none of them is made up here."""
    (directory := Path("creds")).mkdir()
    Path("e").write_text("A=1")

    def refuse(self: object) -> None:
        raise RuntimeError(f"{kind.__name__} was asked")

    monkeypatch.setattr(kind, "__call__", refuse)
    with pytest.raises(RuntimeError, match=f"{kind.__name__} was asked"):
        load({"env": {"file": "e"}}, None, {"CREDENTIALS_DIRECTORY": str(directory.absolute())})


def test_a_worker_asks_the_environment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (InitSettingsSource, DotEnvSettingsSource, SecretsSettingsSource):
        monkeypatch.setattr(kind, "__call__", lambda self: pytest.fail("asked"))
    assert from_environ({"MINDBOT_POOL__WORKERS": "2"}).pool.workers == 2


def test_the_settings_are_one_model_of_pydantic_settings() -> None:
    assert issubclass(Settings, BaseSettings)
    assert Settings.settings_customise_sources.__func__ is not BaseSettings.settings_customise_sources.__func__  # type: ignore[attr-defined]
    assert pydantic_settings.__name__ == BaseSettings.__module__.partition(".")[0]
