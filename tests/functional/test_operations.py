"""What operators do to a running pool, by command and by signal."""

import json
import signal
from pathlib import Path

from functional.daemon import Daemon, stub

SLOW_CHECKS = {"MINDBOT_WORKER__HEARTBEAT": "required"}


def names(daemon: Daemon, phase: str = "ready") -> set[str]:
    return {row["worker"] for row in daemon.status()["workers"] if row["phase"] == phase}


def test_restart_all_replaces_each_worker_and_cuts_no_call(tmp_path):
    environ = {**SLOW_CHECKS}
    with Daemon(tmp_path, "--workers", "3", *stub("--calls", "1", "--call-seconds", "8"), environ=environ) as daemon:
        daemon.ready(3)
        done = daemon.client("restart", "all", timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "3 of 3 replaced"
        assert names(daemon) == {"0.2", "1.2", "2.2"}
        for slot in range(3):
            daemon.wait("worker.exited", worker=f"{slot}.1", verdict="asked", calls=0)
        assert not daemon.events("call.lost")
        order = [record["worker"] for record in daemon.records if record["event"] == "worker.draining"]
        assert order == ["0.1", "1.1", "2.1"]
        assert daemon.client("stop", "--now").returncode == 0


def test_broken_code_never_empties_the_pool(tmp_path):
    words = stub("--after", "0", "slow_boot@0.2", "exit_78@0.2")
    with Daemon(tmp_path, "--workers", "2", *words, environ=SLOW_CHECKS) as daemon:
        daemon.ready(2)
        done = daemon.client("restart", "all", timeout=60)
        assert done.returncode == 1
        assert "0.2 did not become ready" in done.stderr
        assert names(daemon) == {"0.1", "1.1"}
        assert daemon.terminate() == 0


def test_drain_and_restart_of_one_worker(tmp_path):
    with Daemon(tmp_path, "--workers", "2", *stub(), environ=SLOW_CHECKS) as daemon:
        daemon.ready(2)
        assert daemon.client("drain", "0").returncode == 0
        daemon.wait("worker.exited", worker="0.1", verdict="asked")
        assert names(daemon) == {"1.1"}
        assert daemon.client("restart", "0").returncode == 0
        daemon.wait("worker.ready", worker="0.2")
        assert daemon.terminate() == 0


def test_the_pool_is_scaled_by_command_and_by_signal(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=SLOW_CHECKS) as daemon:
        daemon.ready(1)
        assert daemon.client("scale", "3").returncode == 0
        daemon.ready(3)
        daemon.process.send_signal(signal.SIGTTIN)
        daemon.ready(4)
        daemon.process.send_signal(signal.SIGTTOU)
        daemon.until(lambda: len(names(daemon)) == 3)
        assert daemon.status()["supervisor"]["workers_wanted"] == 3
        assert daemon.client("scale", "0").returncode == 1
        assert daemon.terminate() == 0


def test_reload_rolls_what_changed_and_refuses_what_is_wrong(tmp_path):
    settings, env = tmp_path / "mindbot.toml", tmp_path / "env"
    settings.write_text('[env]\nfile = "env"\n')
    env.write_text("GREETING=one\n")
    with Daemon(tmp_path, "--workers", "2", *stub(), environ=SLOW_CHECKS) as daemon:
        daemon.ready(2)
        settings.write_text("[pool]\nworkres = 3\n")
        refused = daemon.client("reload")
        assert refused.returncode == 1
        assert "workres" in refused.stderr
        assert daemon.wait("config.rejected")["detail"]
        assert names(daemon) == {"0.1", "1.1"}

        settings.write_text('[env]\nfile = "env"\n[limits]\nmax_errors = 20\n')
        assert daemon.client("reload").stdout.splitlines()[0] == "changed: limits.max_errors"
        assert names(daemon) == {"0.1", "1.1"}, "a limit is the supervisor's own: no worker has to go for it"

        env.write_text("GREETING=two\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait("rollout.finished", reason="env")
        daemon.until(lambda: names(daemon) == {"0.2", "1.2"})
        pid = daemon.worker("0.2")["pid"]
        assert b"GREETING=two" in Path(f"/proc/{pid}/environ").read_bytes()
        assert daemon.terminate() == 0


def test_a_watched_env_file_is_reloaded_when_it_changes(tmp_path):
    env = tmp_path / "env"
    env.write_text("GREETING=one\n")
    environ = {**SLOW_CHECKS, "MINDBOT_ENV__WATCH": "true", "MINDBOT_ENV__FILE": str(env)}
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=environ) as daemon:
        daemon.ready(1)
        daemon.until(lambda: daemon.status()["supervisor"]["uptime"] > 2)
        fresh = tmp_path / "fresh"
        fresh.write_text("GREETING=two\n")
        fresh.replace(env)
        daemon.wait("env.changed")
        daemon.wait("worker.ready", worker="0.2")
        assert daemon.terminate() == 0


def test_hold_and_release(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("--after 6 errors@0.1"), environ=SLOW_CHECKS) as daemon:
        daemon.wait("worker.spawned")
        assert daemon.client("hold").returncode == 0
        daemon.wait("limit.warned", reason="errors")
        assert json.loads(daemon.client("status", "--json").stdout)["supervisor"]["held"] == "operator"
        assert not daemon.events("worker.draining")
        assert daemon.client("release").returncode == 0
        daemon.wait("worker.ready", worker="0.2")
        assert daemon.terminate() == 0


def test_a_second_sigterm_cuts_the_calls_and_says_so_in_one_line(tmp_path):
    with Daemon(tmp_path, "--workers", "2", *stub("--calls", "1"), environ=SLOW_CHECKS) as daemon:
        daemon.ready(2)
        daemon.until(lambda: daemon.status()["calls"]["active"] == 2)
        daemon.process.send_signal(signal.SIGTERM)
        first = daemon.wait("supervisor.stopping")
        assert (first["now"], first["calls"], first["level"]) == (False, 2, "info")
        assert "detail" not in first
        assert daemon.terminate() == 0
        second = daemon.wait("supervisor.stopping", now=True)
        assert (second["calls"], second["reason"], second["level"]) == (2, "SIGTERM", "warning")
        assert second["detail"] == "live calls are cut: no worker here stays to take them"
        lost = daemon.events("call.lost")
        assert sorted(each["room"] for each in lost) == ["0.1-r0", "1.1-r0"]
        assert not daemon.left_behind()


def test_an_unknown_worker_is_refused_with_the_names_of_those_that_exist(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=SLOW_CHECKS) as daemon:
        daemon.ready(1)
        for command in ("restart", "drain"):
            done = daemon.client(command, "7.1")
            assert done.returncode == 1
            assert done.stderr == "mindbot-supervisor: error: there is no worker 7.1; there are 0.1 and all\n"
        assert daemon.terminate() == 0
