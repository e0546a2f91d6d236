"""The short way to the daemon's place says what all the settings say, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindbot_config.errors import ConfigError
from mindbot_config.files.paths import find
from mindbot_config.load import load

TABLES = {
    "nothing": "",
    "a socket": 'socket = "/s/a.sock"\n[pool]\nworkers = 2',
    "all of it": 'socket = "/s/a.sock"\nruntime_dir = "/r"\nstate_dir = "t"',
    "empty": 'socket = ""\nruntime_dir = "/r"',
}
VARIABLES: dict[str, dict[str, str]] = {
    "no variable": {"HOME": "/h"},
    "a directory": {"MINDBOT_RUNTIME_DIR": "/other", "MINDBOT_POOL__WORKERS": "3"},
    "an empty socket": {"MINDBOT_SOCKET": ""},
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
@pytest.mark.parametrize("environ", VARIABLES.values(), ids=VARIABLES.keys())
def test_it_finds_what_the_settings_say(tmp_path: Path, table: str, environ: dict[str, str]) -> None:
    file = tmp_path / "mindbot.toml"
    file.write_text(table)
    settings = load({}, file, environ).settings
    found = find(file, environ)
    assert found == (settings.socket, settings.runtime_dir, settings.state_dir)
    assert find(None, environ | {"MINDBOT_CONFIG": str(file)}) == found


@pytest.mark.parametrize(
    ("table", "environ"),
    [
        ('[env]\nfile = "x.env"', {}),
        ("", {"MINDBOT_ENV__FILE": "x.env"}),
        ("", {"mindbot_socket": "/s"}),
        ("socket = 3", {}),
        ('socket = "~/s"', {}),
        ("", {"MINDBOT_RUNTIME_DIR": "~/r"}),
    ],
)
def test_what_only_all_the_settings_can_answer_it_leaves_to_them(
    tmp_path: Path, table: str, environ: dict[str, str]
) -> None:
    file = tmp_path / "mindbot.toml"
    file.write_text(table)
    assert find(file, environ) is None


def test_a_broken_file_is_refused_as_it_is_by_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "mindbot.toml"
    file.write_text("socket = ")
    with pytest.raises(ConfigError, match=r"mindbot\.toml, .*: cannot be read as TOML"):
        find(file, {})
