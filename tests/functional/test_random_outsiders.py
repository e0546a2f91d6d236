"""Random heartbeats, output, HTTP requests and control requests at the same time, in any order.

RANDOM_SECONDS (10; by hand 60) and RANDOM_SEED choose how long and which.
"""

import contextlib
import json
import os
import random
import socket
import sys
import threading
import time
from pathlib import Path

import psutil

from functional.daemon import Daemon

SECONDS = float(os.environ.get("RANDOM_SECONDS", "10"))
SEED = int(os.environ.get("RANDOM_SEED", "1"))
GROWTH = 10 * 1024 * 1024
CALLBACK = 0.1
"""Seconds of the loop's thread that one callback may take."""
HERE = Path(__file__).parent
PATHS = [
    "/",
    "/status",
    "/metrics",
    "/readyz",
    "/healthz",
    "/explain?worker=0",
    "/hold",
    "/release",
    "/scale",
    "/nowhere",
]
BODIES = [b"", b"{}", b"[]", b"{" * 3000, b'{"worker":"0.1"}', b'{"now":"false"}', b'{"workers":1e999}', b"\xff\xfe"]


def request(chance: random.Random) -> bytes:
    if chance.random() < 0.2:
        return chance.randbytes(chance.randint(1, 3000))
    body, method = chance.choice(BODIES), chance.choice(["GET", "POST", "PUT", "HEAD"])
    host = chance.choice(["localhost", "127.0.0.1", "evil.example", ""])
    head = f"{method} {chance.choice(PATHS)} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body[: chance.choice([len(body), len(body) // 2])]


def ask_at_random(address: tuple[str, int] | str, seed: int, ending: threading.Event) -> None:
    """Until it ends: a request, half a request, no request; the answer read, read in part, or left."""
    chance, kept = random.Random(seed), []
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    while not ending.is_set():
        with contextlib.suppress(OSError):
            client = socket.socket(family)
            client.settimeout(0.2)
            client.connect(address)
            for _ in range(chance.randint(0, 3)):
                client.sendall(request(chance))
            if chance.random() < 0.7:
                client.recv(chance.choice([1, 65536]))
            if chance.random() < 0.2 and len(kept) < 100:
                kept.append(client)
            else:
                client.close()
        time.sleep(0.005)
    for client in kept:
        client.close()


def test_whatever_comes_at_random_the_daemon_keeps_its_memory_its_pace_and_its_workers(tmp_path):
    measured = tmp_path / "longest.json"
    command = f"{sys.executable} {HERE / 'random_worker.py'}"
    words = ["--workers", "3", "--command", command, "--http", "127.0.0.1:0"]
    environ = {"MINDBOT_WORKER__HEARTBEAT": "required", "RANDOM_SEED": str(SEED)}
    program = (str(HERE / "timed_program.py"), str(measured))
    with Daemon(tmp_path, *words, environ=environ, program=program) as daemon:
        siblings = [daemon.wait("worker.ready", worker=name)["pid"] for name in ("1.1", "2.1")]
        host, _, port = daemon.wait("http.listening")["address"].rpartition(":")
        ending = threading.Event()
        places = [(host, int(port)), str(daemon.socket)]
        clients = [
            threading.Thread(target=ask_at_random, args=(place, SEED + number, ending))
            for number, place in enumerate(places * 2)
        ]
        for client in clients:
            client.start()
        process = psutil.Process(daemon.process.pid)
        time.sleep(SECONDS / 2)  # what is loaded with the first request of each kind is loaded
        before = process.memory_info().rss
        measured.with_suffix(".begin").touch()
        time.sleep(SECONDS / 2)
        growth = process.memory_info().rss - before
        ending.set()
        for client in clients:
            client.join(30)
        rows = {row["worker"]: row for row in daemon.status()["workers"]}
        assert [rows[name]["pid"] for name in ("1.1", "2.1")] == siblings
        assert [rows[name]["phase"] for name in ("1.1", "2.1")] == ["ready", "ready"]
        assert growth < GROWTH
        assert daemon.terminate() == 0
        assert not daemon.events("supervisor.bug"), daemon.events("supervisor.bug")[:1]
        assert daemon.stray == []
        assert "Traceback" not in daemon.errors
    took, what = json.loads(measured.read_text())
    assert took < CALLBACK, what
