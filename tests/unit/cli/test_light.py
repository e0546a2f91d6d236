"""Commands start without what they do not need: what is loaded is what they take, in time and memory."""

import os
import subprocess
import sys

import pytest

HEAVY = ("pydantic", "pydantic_settings", "structlog", "psutil", "aiohttp", "uvloop", "asyncio", "http.client", "ssl")
HEAVY += ("email", "tempfile", "rich", "mindbot_worker", "mindbot_supervisor.core")


def loaded_by(tmp_path, *arguments: str) -> list[str]:
    look = f"""
import sys, mindbot_supervisor.cli as cli
try:
    cli.main({list(arguments)!r})
except SystemExit:
    pass
sys.stderr.write("loaded " + " ".join(name for name in {HEAVY!r} if name in sys.modules))
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MINDBOT_")}
    environ = {**clean, "MINDBOT_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-c", look]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path, env=environ)
    return done.stderr.rpartition("loaded ")[2].split()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["status", "--socket", "/nonexistent"],
        ["status", "--json"],
        ["stop"],
        ["restart", "all"],
        ["drain", "0"],
        ["scale", "3"],
        ["reload"],
        ["hold"],
        ["help"],
        ["completion", "bash"],
        ["scale", "-1"],
        ["explain", "--help"],
        ["profile", "0", "--cpu"],
    ],
    ids=" ".join,
)
def test_a_client_command_loads_nothing_heavy(tmp_path, arguments):
    assert loaded_by(tmp_path, *arguments) == []


def test_the_daemon_starts_its_first_worker_before_it_loads_a_web_server():
    look = (
        "import mindbot_supervisor.daemon.daemon, sys; print([n for n in ('aiohttp', 'structlog') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
