"""Hundreds of clients that only sit on the pages: the pool, the control socket and other clients notice nothing."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from functional.daemon import DEADLINE, Daemon, stub

WORKER = {"MINDBOT_WORKER__HEARTBEAT": "required", "MINDBOT_HTTP__IDLE_TIMEOUT": "4"}
CLIENTS = 300


def get(address: str, path: str, host: str = "") -> tuple[int, str]:
    request = urllib.request.Request(f"http://{address}{path}", headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as exc:
        return 0, str(exc)


def held_by(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


@pytest.mark.parametrize("limit", [1024, 160], ids=["enough descriptors", "few descriptors"])
def test_idle_clients_cost_no_worker_no_command_and_no_other_client(tmp_path, limit):
    arguments = ["--workers", "3", *stub("--calls", "1"), "--http", "127.0.0.1:0"]
    with Daemon(tmp_path, *arguments, environ=WORKER) as daemon:
        daemon.ready(3)
        address = daemon.wait("http.listening")["address"]
        host, port = address.split(":")
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        before = held_by(daemon)
        clients = []
        for _ in range(CLIENTS):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex((host, int(port)))
            clients.append(client)
        daemon.until(lambda: held_by(daemon) > before + 50)
        for generation in (2, 3):
            for slot in range(3):
                os.kill(daemon.worker(f"{slot}.{generation - 1}")["pid"], signal.SIGKILL)
            for slot in range(3):
                daemon.wait("worker.ready", worker=f"{slot}.{generation}")
        assert held_by(daemon) <= before + 128 + 8
        assert json.loads(daemon.client("status", "--json").stdout)["supervisor"]["pid"] == daemon.process.pid
        daemon.until(lambda: get(address, "/healthz") == (200, "ok\n"))
        daemon.until(lambda: held_by(daemon) <= before + 8)
        for client in clients:
            client.close()
        assert daemon.client("stop", "--now").returncode == 0
        assert daemon.end() == 0
        assert not daemon.events("supervisor.bug") and daemon.errors == ""


def test_a_reload_changes_who_may_read_the_pages(tmp_path):
    settings = tmp_path / "mindbot.toml"
    settings.write_text("")
    with Daemon(tmp_path, "--workers", "1", *stub(), "--http", "127.0.0.1:0", environ=WORKER) as daemon:
        daemon.ready(1)
        address = daemon.wait("http.listening")["address"]
        assert not daemon.events("http.exposed")
        code, why = get(address, "/status", "pool.example.org")
        assert (code, why.count("\n")) == (403, 1) and "[http] allowed_hosts" in why
        settings.write_text('[http]\nallowed_hosts = ["Pool.example.org"]\n')
        done = daemon.client("reload")
        assert done.stdout.splitlines()[0] == "changed: http.allowed_hosts"
        assert get(address, "/status", "pool.example.org")[0] == 200
        assert get(address, "/status", "evil.example")[0] == 403
        assert {row["worker"] for row in daemon.status()["workers"]} == {"0.1"}, "no worker has to go for it"
        assert daemon.terminate() == 0


@pytest.mark.parametrize("shown", [False, True])
def test_pages_for_other_hosts_are_warned_of_and_name_nobody_unless_told_to(tmp_path, shown):
    environ = {**WORKER, "MINDBOT_HTTP__SHOW_IDENTITIES": str(shown).lower()}
    arguments = ["--workers", "1", *stub("--calls", "1"), "--http", "0.0.0.0:0"]
    with Daemon(tmp_path, *arguments, environ=environ) as daemon:
        daemon.until(lambda: daemon.worker("0.1") and daemon.worker("0.1")["calls"])
        told = daemon.wait("http.exposed")
        assert told["level"] == "warning" and "no password" in told["detail"]
        port = daemon.wait("http.listening")["address"].rpartition(":")[2]
        code, page = get(f"127.0.0.1:{port}", "/status")
        row = json.loads(page)["workers"][0]
        assert code == 200 and row["worker"] == "0.1" and len(row["calls"]) == 1
        assert ("0.1-r0" in page) is shown and ("0.1-j0" in page) is shown
        assert daemon.worker("0.1")["calls"][0]["room"] == "0.1-r0", "its own user sees all on the control socket"
        assert daemon.client("stop", "--now").returncode == 0


def test_no_command_is_taken_for_what_it_does_not_say(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("--calls", "1"), environ=WORKER) as daemon:
        daemon.ready(1)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE)
            client.connect(str(daemon.socket))
            body = b'{"now":"false"}'
            client.sendall(b"POST /stop HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            answer = b""
            while data := client.recv(65536):
                answer += data
        head, _, text = answer.partition(b"\r\n\r\n")
        assert b" 400 " in head.split(b"\r\n")[0] and b"server:" not in head.lower()
        assert json.loads(text) == {"error": 'stop: "now" must be true or false'}
        assert daemon.worker("0.1")["phase"] == "ready" and not daemon.events("supervisor.stopping")
        assert daemon.client("stop", "--now").returncode == 0


def test_metrics_are_there_as_openmetrics_for_whoever_asks_for_it(tmp_path):
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    with Daemon(tmp_path, "--workers", "1", *stub(), "--http", "127.0.0.1:0", environ=WORKER) as daemon:
        daemon.ready(1)
        address = daemon.wait("http.listening")["address"]
        request = urllib.request.Request(
            f"http://{address}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
        )
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            names = {family.name for family in text_string_to_metric_families(answer.read().decode())}
        assert {"mindbot_workers", "mindbot_calls", "mindbot_worker_ready_seconds", "mindbot_supervisor"} <= names
        assert daemon.terminate() == 0
