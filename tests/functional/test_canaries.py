"""Secrets are put into every input, and none of them is in any output, however it is written there."""

import base64
import json
import os
import shlex
import sys
import urllib.request
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from functional.daemon import Daemon
from functional.receiver import Receiver

AWKWARD = 'canary-three "quötes"\\ and/ 100%'
LINES = "canary-four-line-one\ncanary-four-line-two\ncanary-four-line-three"
IN_ENV_FILE = {
    "OPENAI_API_KEY": "canary-one-of-the-env-file",
    "DB_PASS": "canary-two-of-the-env-file",
    "APP_PASSWORD": AWKWARD,
    "SIGNING_SECRET": LINES,
}
IN_ENVIRONMENT = {"DATABASE_URL": "postgres://me:canary-five-password@db/x", "SENTRY_DSN_TOKEN": "canary-six-token"}
IN_TOML = "canary-seven-webhook"
BY_NAME_IN_CREDENTIALS = "canary-eight-credential"
PARTS = (
    *("canary-one-of-", "canary-two-of-", "canary-three", "quötes", r"qu\u00f6tes", "canary-four", "canary-five"),
    *("canary-six", "canary-seven", "canary-eight"),
)


def spellings():
    """What may be nowhere: the canaries, and the core of each in other spellings."""
    found = set(PARTS)
    whole = [*IN_ENV_FILE.values(), "canary-five-password", "canary-six-token", IN_TOML, BY_NAME_IN_CREDENTIALS]
    for each in whole:
        found |= {quote(each, safe="")[:24], each.encode().hex()[:32]}
        found |= {base64.b64encode(b"x" * before + each.encode()).decode()[4:24] for before in range(3)}
    return found


@pytest.fixture
def settings(tmp_path):
    lines = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in IN_ENV_FILE.items()]
    (tmp_path / "env").write_text("\n".join(lines) + "\n")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "DEEPGRAM_API_KEY").write_text(BY_NAME_IN_CREDENTIALS)
    return tmp_path


def everything_told(daemon, folder):
    """Every way out, as text, by its name."""
    http = daemon.events("http.listening")[0]["address"]
    told = {}
    for page in ("status", "metrics", "readyz", "healthz"):
        told[f"GET /{page}"] = urllib.request.urlopen(f"http://{http}/{page}", timeout=30).read().decode()
    for name in ("0", "0.1", "1"):
        for more in ([], ["--json"]):
            done = daemon.client("explain", name, *more)
            told[f"explain {name} {more}"] = done.stdout + done.stderr
    for words in (["status"], ["status", "--json"], ["explain", "canary-one-of-the-env-file"], ["restart", "9"]):
        done = daemon.client(*words)
        told[" ".join(words)] = done.stdout + done.stderr if "canary" not in words[-1] else ""
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get("MINDBOT_RUNTIME_DIR") == str(daemon.runtime_dir)
                or process.pid == daemon.process.pid
            ):
                told[f"title of {process.pid}"] = " ".join([process.name(), *process.cmdline()])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    for root in (daemon.state_dir, folder / "log", daemon.runtime_dir):
        for path in root.rglob("*"):
            told[f"the name of {path.name}"] = str(path)
            if path.is_file() and not path.is_socket():
                told[str(path)] = path.read_bytes().decode(errors="replace")
    return told


def test_no_canary_gets_out(settings):
    tmp_path = settings
    (tmp_path / "log").mkdir()
    worker = Path(__file__).with_name("canary_worker.py")
    with Receiver() as receiver:
        (tmp_path / "mindbot.toml").write_text(
            f'[notify]\nwebhook_url = "{receiver.url}/{IN_TOML}"\n'
            'events = ["worker.exited", "agent.error", "worker.killing", "call.lost", "call.started"]\n'
            f'[log]\nlevel = "debug"\nfile = "{tmp_path}/log/x.log"\n'
            f"[pool]\nworkers = 2\ncommand = {json.dumps(shlex.join([sys.executable, str(worker)]))}\n"
        )
        environ = {
            **IN_ENVIRONMENT,
            "CANARIES": ",".join([*IN_ENV_FILE, "SENTRY_DSN_TOKEN", "DEEPGRAM_API_KEY"]),
            "CANARY_SECONDS": "3",
            "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
        }
        arguments = ("--env-file", str(tmp_path / "env"), "--http", "127.0.0.1:0")
        with Daemon(tmp_path, *arguments, environ=environ) as daemon:
            daemon.wait("worker.exited", signal="SIGKILL")
            daemon.until(lambda: list((tmp_path / "state").rglob("flight.jsonl")))
            receiver.wait(lambda posts: len(posts) > 2)
            told = everything_told(daemon, tmp_path)
            assert daemon.client("stop", "--now").returncode == 0
            daemon.end()
            told["the log"] = "".join(json.dumps(record, ensure_ascii=False) for record in daemon.records)
            told["webhook"] = "\n".join(post.body.decode() for post in receiver.posts)
            told["stderr"] = daemon.errors + "".join(daemon.stray)
            assert not daemon.left_behind()
    assert len(told["the log"]) > 10_000 and "***" in told["the log"]
    assert "***" in told["GET /status"] and "***" in told["GET /metrics"] and "***" in told["webhook"]
    found = {(name, part) for name, text in told.items() for part in spellings() if part in text}
    assert not found


def test_no_part_of_a_secret_is_left_where_a_line_is_cut(tmp_path):
    """At 16 KiB, wherever the secret stands: the first six characters of it may be left, no more."""
    secret = "canary-0123456789abcdef"
    script = "\n".join(
        [
            "import os, sys, time",
            "secret = os.environ['APP_TOKEN']",
            "for before in range(16 * 1024 - len(secret) - 2, 16 * 1024 + 2):",
            "    print('x' * before + secret + ' and more')",
            "    print('\"' * (before // 2) + secret + ' and more')",
            "sys.stdout.flush(); time.sleep(3600)",
        ]
    )
    (tmp_path / "worker.py").write_text(script)
    command = shlex.join([sys.executable, str(tmp_path / "worker.py")])
    with Daemon(tmp_path, "--workers", "1", "--command", command, environ={"APP_TOKEN": secret}) as daemon:
        count = 2 * (len(secret) + 4)
        daemon.until(lambda: len(daemon.events("worker.output")) == count)
        assert all("canary-" not in record["text"] for record in daemon.events("worker.output"))
        assert daemon.client("stop", "--now").returncode == 0
        daemon.end()


def test_after_a_reload_the_old_key_is_masked_too(tmp_path):
    """The workers that run still have it."""
    env = tmp_path / "env"
    env.write_text("APP_TOKEN=canary-the-old-one\n")
    script = (
        "import os, time\nwhile True:\n    print('key', os.environ['APP_TOKEN'], flush=True)\n    time.sleep(0.2)\n"
    )
    (tmp_path / "worker.py").write_text(script)
    command = shlex.join([sys.executable, str(tmp_path / "worker.py")])
    arguments = ("--workers", "1", "--command", command, "--env-file", str(env))
    with Daemon(tmp_path, *arguments, environ={"MINDBOT_WORKER__READY_AFTER": "0.2"}) as daemon:
        daemon.wait("worker.output")
        env.write_text("APP_TOKEN=canary-the-new-one\n")
        os.kill(daemon.process.pid, 1)
        after = daemon.records.index(daemon.wait("supervisor.reloaded"))
        daemon.wait("worker.output", worker="0.2", after=after)
        assert {record["text"] for record in daemon.events("worker.output")} == {"key ***"}
        assert daemon.client("stop", "--now").returncode == 0
        daemon.end()
