from __future__ import annotations

from pathlib import Path

import pytest

from mindbot_config.errors import ConfigError
from mindbot_config.files.paths import resolve
from mindbot_config.settings import Settings

SYSTEMD = {"RUNTIME_DIRECTORY": "/run/bot:/run/other", "STATE_DIRECTORY": "/var/lib/bot"}
XDG = {"XDG_RUNTIME_DIR": "/run/user/1", "XDG_STATE_HOME": "/home/u/state", "HOME": "/home/u"}


@pytest.mark.parametrize(
    ("given", "environ", "uid", "socket", "runtime_dir", "state_dir"),
    [
        ({}, {}, 0, "/run/mindbot/control.sock", "/run/mindbot", "/var/lib/mindbot"),
        ({}, XDG, 0, "/run/mindbot/control.sock", "/run/mindbot", "/var/lib/mindbot"),
        ({}, SYSTEMD, 0, "/run/bot/control.sock", "/run/bot", "/var/lib/bot"),
        ({}, SYSTEMD | XDG, 1, "/run/bot/control.sock", "/run/bot", "/var/lib/bot"),
        ({}, XDG, 1, "/run/user/1/mindbot/control.sock", "/run/user/1/mindbot", "/home/u/state/mindbot"),
        ({}, {"HOME": "/h"}, 1, "/tmp/mindbot-1/control.sock", "/tmp/mindbot-1", "/h/.local/state/mindbot"),
        ({}, {"XDG_RUNTIME_DIR": "x"}, 1, "/tmp/mindbot-1/control.sock", "/tmp/mindbot-1", "/tmp/mindbot-1/state"),
        ({"runtime_dir": "/r"}, SYSTEMD, 1, "/r/control.sock", "/r", "/var/lib/bot"),
        ({"socket": "/s/a.sock"}, SYSTEMD, 1, "/s/a.sock", "/s/a.run", "/var/lib/bot"),
        ({"socket": "/s/a"}, SYSTEMD, 1, "/s/a", "/s/a.run", "/var/lib/bot"),
        ({"socket": "/s/a.run"}, SYSTEMD, 1, "/s/a.run", "/s/a.run.run", "/var/lib/bot"),
        ({"socket": "/s/a", "runtime_dir": "/r", "state_dir": "/t"}, SYSTEMD | XDG, 0, "/s/a", "/r", "/t"),
    ],
)
def test_what_is_set_wins_and_the_rest_follows(
    given: dict[str, str], environ: dict[str, str], uid: int, socket: str, runtime_dir: str, state_dir: str
) -> None:
    paths = resolve(Settings.model_validate(given), environ, uid)
    assert (str(paths.socket), str(paths.runtime_dir), str(paths.state_dir)) == (socket, runtime_dir, state_dir)


def test_paths_are_absolute(tmp_path: Path) -> None:
    paths = resolve(Settings.model_validate({"socket": "a.sock", "state_dir": "s"}), {}, 1)
    assert (paths.socket, paths.runtime_dir, paths.state_dir) == tuple(tmp_path / n for n in ("a.sock", "a.run", "s"))


@pytest.mark.parametrize(("name", "fits"), [("a" * 104, True), ("a" * 105, False), ("é" * 52, True), ("é" * 53, False)])
def test_a_socket_path_has_at_most_107_bytes(name: str, fits: bool) -> None:
    settings = Settings.model_validate({"socket": f"/s/{name}"})
    if fits:
        resolve(settings, {}, 0)
        return
    with pytest.raises(ConfigError, match=r"^socket = .*: must be at most 107 bytes long, and has 10[89]$"):
        resolve(settings, {}, 0)


def test_a_socket_must_have_a_name() -> None:
    with pytest.raises(ConfigError, match="must name a file"):
        resolve(Settings.model_validate({"socket": "/"}), {}, 0)
