"""Each command that changes something says in a line what it did."""

import signal
import subprocess
import threading

from functional.command_line import PROGRAM
from functional.daemon import Daemon, stub

SLOW_CHECKS = {"MINDBOT_WORKER__HEARTBEAT": "required"}


def say(daemon: Daemon, *words: str) -> str:
    done = daemon.client(*words, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_scale_says_from_how_many_to_how_many_and_a_sign_makes_it_relative(tmp_path):
    with Daemon(tmp_path, "--workers", "2", *stub(), environ=SLOW_CHECKS) as daemon:
        daemon.ready(2)
        assert say(daemon, "scale", "+1") == "2 → 3 workers\n"
        daemon.ready(3)
        assert say(daemon, "scale", "-2") == "3 → 1 workers\n"
        assert daemon.status()["supervisor"]["workers_wanted"] == 1
        assert say(daemon, "scale", "1") == "1 → 1 workers\n"
        refused = daemon.client("scale", "-1")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "from 1 to 1024" in refused.stderr and len(refused.stderr.splitlines()) == 1
        assert daemon.client("scale", "-9").returncode == 1
        assert daemon.status()["supervisor"]["workers_wanted"] == 1
        assert say(daemon, "stop", "--now").startswith("stopped (pid ")


def test_two_that_scale_at_the_same_time_are_both_heard(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=SLOW_CHECKS) as daemon:
        daemon.ready(1)
        both = [threading.Thread(target=daemon.client, args=("scale", "+1")) for _ in range(3)]
        for each in both:
            each.start()
        for each in both:
            each.join(60)
        assert daemon.status()["supervisor"]["workers_wanted"] == 4
        daemon.client("stop", "--now")


def test_drain_names_the_slots_and_the_calls_and_how_they_are_filled_again(tmp_path):
    with Daemon(tmp_path, "--workers", "3", *stub("calls@1"), environ=SLOW_CHECKS) as daemon:
        daemon.ready(3)
        daemon.until(lambda: daemon.status()["calls"]["active"] == 3)
        assert say(daemon, "drain", "0") == "draining slot 0; `restart 0` fills it again\n"
        daemon.wait("worker.exited", worker="0.1")
        assert say(daemon, "drain", "0") == "slot 0 is empty already; `restart 0` fills it again\n"
        assert say(daemon, "drain", "1.1") == "draining slot 1; 3 live calls end first; `restart 1` fills it again\n"
        assert say(daemon, "drain", "all").startswith("draining slots 0, 1 and 2; ")
        assert say(daemon, "restart", "0", "--no-wait") == "restarting slot 0\n"
        assert say(daemon, "stop", "--now").endswith("; 3 live calls were cut\n")
        assert daemon.end() == 0


def test_restart_of_an_empty_slot_says_that_it_is_filled(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=SLOW_CHECKS) as daemon:
        daemon.ready(1)
        say(daemon, "drain", "0")
        daemon.wait("worker.exited", worker="0.1")
        assert say(daemon, "restart", "0") == "slot 0 had no worker to replace; a new one is started\n"
        daemon.wait("worker.ready", worker="0.2")
        assert say(daemon, "restart", "0").splitlines()[-1] == "1 of 1 replaced"
        daemon.client("stop", "--now")


def test_hold_and_release_say_how_it_was_before(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=SLOW_CHECKS) as daemon:
        daemon.ready(1)
        assert say(daemon, "hold").startswith("held: no automatic restarts until `release`")
        assert say(daemon, "hold").startswith("already held: ")
        assert say(daemon, "release") == "released: automatic restarts are allowed again\n"
        assert say(daemon, "release") == "nothing was held\n"
        daemon.client("stop", "--now")


def test_stop_says_that_it_waits_and_that_the_daemon_is_gone(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("call", "--call-seconds", "15"), environ=SLOW_CHECKS) as daemon:
        daemon.until(lambda: daemon.status()["calls"].get("active") == 1)
        done = daemon.client("stop", timeout=90)
        assert (done.returncode, done.stdout) == (0, f"stopped (pid {daemon.process.pid})\n")
        assert done.stderr == "waiting for 1 calls to end; `stop --now` cuts them\n"
        assert daemon.end() == 0


def test_a_daemon_that_is_killed_while_stop_waits_ends_the_waiting(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("call"), environ=SLOW_CHECKS) as daemon:
        daemon.until(lambda: daemon.status()["calls"].get("active") == 1)
        command = [*PROGRAM, "stop", "--socket", str(daemon.socket)]
        stopping = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert stopping.stderr.readline().startswith("waiting for 1 calls")
        daemon.process.send_signal(signal.SIGKILL)
        assert stopping.communicate(timeout=60) == (f"stopped (pid {daemon.process.pid})\n", "")
        assert stopping.returncode == 0
        assert daemon.end() == -signal.SIGKILL
