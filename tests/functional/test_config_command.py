"""`config check` and `config show`: the effective settings with their sources, no secret, and what should be mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from functional.daemon import Daemon, stub
from functional.test_bad_input import assert_one_plain_line, run


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()}


def test_show_names_the_source_of_every_value(tmp_path):
    (tmp_path / "creds").mkdir()
    (tmp_path / "creds" / "DEEPGRAM_API_KEY").write_text("of-systemd-1234\n")
    (tmp_path / "env").write_text("MINDBOT_POOL__MAX_CALLS=3\nOPENAI_API_KEY=of-the-file\n")
    (tmp_path / "env").chmod(0o600)
    (tmp_path / "mindbot.toml").write_text(
        '[env]\nfile = "env"\n[pool]\nworkers = 2\nmax_calls = 9\nagent_name = "x"\n'
    )
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "creds"), "MINDBOT_LOG__LEVEL": "debug"}
    done = run(tmp_path, "config", "show", "--workers", "7", environ=environ)
    assert (done.returncode, done.stderr) == (0, "")
    found = rows(done.stdout)
    assert found["pool.workers"] == ["7", "flag", "--workers"]
    assert found["pool.max_calls"] == ["3", "env", "file", "env"]
    assert found["log.level"] == ['"debug"', "environment", "MINDBOT_LOG__LEVEL"]
    assert found["pool.agent_name"] == ['"x"', "file", "mindbot.toml"]
    assert found["pool.stop_timeout"] == ["30", "default"]
    assert found["OPENAI_API_KEY"] == ["set,", "11", "characters", "env", "file", "env"]
    assert found["DEEPGRAM_API_KEY"] == ["set,", "15", "characters", "systemd", "credential"]


def test_show_says_what_auto_is_and_where_it_came_from(tmp_path):
    done = run(tmp_path, "config", "show", "--workers", "2")
    line = next(line for line in done.stdout.splitlines() if line.startswith("limits.memory_hard_mb"))
    assert '"auto" = ' in line
    assert "default; " in line
    assert "MiB" in line


def test_show_masks_secrets_wherever_they_are(tmp_path):
    environ = {
        "MINDBOT_NOTIFY__WEBHOOK_URL": "https://hooks.example/services/T0/canary-1",
        "MINDBOT_VOICE__OPENAI_BASE_URL": "http://me:canary-2@127.0.0.1:9/v1",
        "MINDBOT_VOICE__GREETING": "the key is canary-value-3",
        "MY_TOKEN": "canary-value-3",
        "DATABASE_URL": "postgres://app:canary-4@db/x",
    }
    command = "agent --api-key canary-5 --db postgres://app:canary-4@db/x --redis=redis://:canary-6@h/0"
    done = run(tmp_path, "config", "show", "--command", command, environ=environ)
    assert done.returncode == 0
    assert "canary" not in done.stdout + done.stderr
    assert '"agent --api-key *** --db postgres://***@db/x --redis=redis://***@h/0"' in done.stdout


def test_check_warns_of_an_env_file_that_everybody_may_read(tmp_path):
    (tmp_path / "env").write_text("OPENAI_API_KEY=changeme-please\n")
    (tmp_path / "env").chmod(0o644)
    done = run(tmp_path, "config", "check", "--env-file", "env")
    assert (done.returncode, done.stdout) == (0, "the settings are valid\n")
    mode, placeholder = done.stderr.splitlines()
    assert mode.startswith(
        "mindbot-supervisor: warning: env file env: holds secrets and can be read by everybody (mode 0644)"
    )
    assert "line 1: OPENAI_API_KEY still has a placeholder" in placeholder
    with Daemon(tmp_path, "--workers", "1", "--env-file", "env", *stub()) as daemon:
        assert "0644" in daemon.wait("config.warned", level="warning")["detail"]
        daemon.ready(1)
        (tmp_path / "env").chmod(0o666)
        assert daemon.client("reload").returncode == 0
        assert [record for record in daemon.events("config.warned") if "0666" in record["detail"]]
        assert daemon.terminate() == 0


def test_every_bad_line_of_an_env_file_is_told(tmp_path):
    (tmp_path / "env").write_text('export OPENAI_API_KEY="sk-canary\nA=1\nno sign\nB="x" y\n')
    done = run(tmp_path, "run", "--env-file", "env", *stub())
    assert_one_plain_line(
        done, 78, 'line 1: the quote " is not closed', "line 3: must be", "line 4: there is text after"
    )
    assert "canary" not in done.stderr


def test_files_with_a_byte_order_mark_and_windows_line_ends(tmp_path):
    (tmp_path / "mindbot.toml").write_bytes(b'\xef\xbb\xbf[env]\r\nfile = "env"\r\n')
    (tmp_path / "env").write_bytes(b"\xef\xbb\xbfexport MINDBOT_POOL__WORKERS=3\r\n")
    (tmp_path / "env").chmod(0o600)
    done = run(tmp_path, "config", "show")
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(done.stdout)["pool.workers"] == ["3", "env", "file", "env"]


def make_directory(path: Path) -> None:
    path.mkdir(parents=True)


def make_link(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to("/dev/null")


LOG_FILES = {
    "missing": (lambda path: None, "there is no directory"),
    "directory": (make_directory, "it is a directory"),
    "link": (make_link, "symbolic link"),
    "under a file": (lambda path: path.parent.write_text(""), "is no directory"),
}


@pytest.mark.parametrize("kind", LOG_FILES)
@pytest.mark.parametrize("command", [["run", *stub()], ["config", "check"]], ids=["run", "check"])
def test_a_log_file_that_cannot_be_written_is_a_configuration_error(tmp_path, command, kind):
    file = tmp_path / "logs" / "x.log"
    make, word = LOG_FILES[kind]
    make(file)
    done = run(tmp_path, *command, environ={"MINDBOT_LOG__FILE": str(file)})
    assert_one_plain_line(done, 78, "log.file", str(file), "MINDBOT_LOG__FILE", word)
