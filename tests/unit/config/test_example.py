"""The example files say what the models say."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

import mindbot_config
from mindbot_config import example, keys
from mindbot_config.credentials import NAMES, Credentials
from mindbot_config.files.env_file import read_env_file
from mindbot_config.load import load
from mindbot_config.settings import Settings

CONFIG = Path(mindbot_config.__file__).parents[1]
HINT = "run python -m mindbot_config.example"


def test_the_files_are_up_to_date() -> None:
    assert (CONFIG / example.TOML_NAME).read_text() == example.toml(), HINT
    assert (CONFIG / example.ENV_NAME).read_text() == example.env(), HINT


def test_the_example_has_every_key_with_its_default() -> None:
    table = tomllib.loads(example.toml())
    assert tuple(key for key, _ in keys.flatten(table)) == keys.KEYS
    assert load({}, CONFIG / example.TOML_NAME, {}).settings == Settings()


def test_the_example_documents_every_key_in_full() -> None:
    text = " ".join(line.removeprefix("# ") for line in (example.toml() + example.env()).splitlines())
    models: list[type[BaseModel]] = [Settings, *keys.SECTIONS.values()]
    for model in models:
        for name, doc in example.documentation(model).items():
            assert doc in text, name


def test_the_env_example_has_every_credential_and_sets_none() -> None:
    found = read_env_file(CONFIG / example.ENV_NAME, "env.example").variables
    assert tuple(found) == NAMES
    assert Credentials.from_environ(found) == Credentials()


def test_no_line_is_too_long() -> None:
    assert max(map(len, (example.toml() + example.env()).splitlines())) <= 120


def test_the_module_writes_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["example", str(tmp_path)])
    example.main()
    assert {path.name for path in tmp_path.iterdir()} == {example.TOML_NAME, example.ENV_NAME}
