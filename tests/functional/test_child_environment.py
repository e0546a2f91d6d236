"""What a child of the daemon finds in its environment: all that was inherited, all of the env file, nothing of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from functional.daemon import Daemon, stub

URL = "https://hooks.example/services/T0CANARY/canary-of-the-webhook"
INHERITED = {"MY_OWN": "inherited", "lower_case": "kept", "EMPTY": "", "ODD-NAME": "kept too", "MY_LISTEN_FDS": "kept"}
OF_THE_DAEMON = {
    "NOTIFY_SOCKET": "/nowhere/notify",
    "WATCHDOG_USEC": "60000000",
    "WATCHDOG_PID": "1",
    "LISTEN_FDS": "0",
    "LISTEN_PID": "1",
    "LISTEN_FDNAMES": "x",
    "MINDBOT_WEBHOOK_SECRET": "canary-of-the-signature",
    "MINDBOT_NOTIFY__EVENTS": '["slot.parked"]',
    "mindbot_http__allowed_hosts": '["canary.example"]',
}


def environment(pid: int) -> dict[str, str]:
    words = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


def assert_complete_and_without_ours(found: dict[str, str]) -> None:
    assert found["OF_THE_FILE"] == "in the env file"
    assert {name: found.get(name) for name in INHERITED} == INHERITED
    assert not set(found) & {*OF_THE_DAEMON, "CREDENTIALS_DIRECTORY"}
    ours = ("WATCHDOG_", "LISTEN_", "MINDBOT_NOTIFY", "MINDBOT_HTTP", "MINDBOT_HANDOVER")
    assert not [name for name in found if name.upper().startswith(ours)]
    assert "canary" not in "\n".join(f"{name}={value}" for name, value in found.items())


@pytest.fixture
def environ(tmp_path):
    (tmp_path / "creds").mkdir()
    (tmp_path / "creds" / "DEEPGRAM_API_KEY").write_text("of-systemd\n")
    env = tmp_path / "env"
    env.write_text(f"OF_THE_FILE='in the env file'\nMINDBOT_NOTIFY__WEBHOOK_URL={URL}\n")
    env.chmod(0o600)
    return {
        **INHERITED,
        **OF_THE_DAEMON,
        "CREDENTIALS_DIRECTORY": str(tmp_path / "creds"),
        "MINDBOT_ENV__FILE": str(env),
    }


def test_a_worker_that_is_a_command(tmp_path, environ):
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=environ) as daemon:
        daemon.ready(1)
        found = environment(daemon.worker("0.1")["pid"])
        assert_complete_and_without_ours(found)
        assert found["DEEPGRAM_API_KEY"] == "of-systemd"
        assert daemon.terminate() == 0
        assert "canary" not in daemon.tail(len(daemon.records)) + daemon.errors


def test_everything_that_local_mode_starts(tmp_path, environ):
    """The stand-ins, the template, its job server, the workers."""
    environ = {**environ, "PATH": "/nowhere"}
    with Daemon(tmp_path, "--workers", "1", "--local", environ=environ) as daemon:
        daemon.ready(1, timeout=120)
        children = psutil.Process(daemon.process.pid).children(recursive=True)
        commands = [" ".join(child.cmdline()) for child in children]
        assert any("mindbot_worker.standins" in command for command in commands)
        assert any("mindbot_worker.template" in command for command in commands)
        for child in children:
            assert_complete_and_without_ours(environment(child.pid))
        assert daemon.terminate() == 0


def test_a_tool_that_profile_starts(tmp_path, environ):
    """A stand-in for py-spy writes down what it finds."""
    tool = tmp_path / "bin" / "py-spy"
    tool.parent.mkdir()
    seen = tmp_path / "seen"
    tool.write_text(f"#!{sys.executable}\nimport os\nopen({str(seen)!r}, 'w').write(repr(dict(os.environ)))\n")
    tool.chmod(0o755)
    with Daemon(tmp_path, "--workers", "1", *stub()) as daemon:
        daemon.ready(1)
        program = (
            "import sys, sysconfig; from mindbot_supervisor.cli import main;"
            f"sysconfig.get_path = lambda name: {str(tool.parent)!r}; sys.exit(main(sys.argv[1:]))"
        )
        words = ["profile", "0", "--cpu", "--seconds", "1", "--socket", str(daemon.socket)]
        command = [sys.executable, "-c", program, *words]
        subprocess.run(command, env={**os.environ, **environ}, capture_output=True, timeout=60, check=False)
        found = seen.read_text()
        assert "'MY_OWN': 'inherited'" in found
        assert not [name for name in (*OF_THE_DAEMON, "CREDENTIALS_DIRECTORY") if f"'{name}'" in found]
        assert daemon.terminate() == 0
