"""A worker whose every word holds a secret of its environment: in its output, its heartbeats, its calls and its end."""

import base64
import json
import os
import signal
import sys
import threading
import time
from urllib.parse import quote

from mindbot_worker.protocol import heartbeat

fd = int(os.environ[heartbeat.HEARTBEAT_FD])
secrets = [os.environ[name] for name in os.environ["CANARIES"].split(",")]
draining = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: draining.set())


def beat(seq: int, **more: object) -> None:
    text = secrets[seq % len(secrets)]
    calls = [
        {"room": f"room-{secret}", "job": f"job-{secret}", "identity": secret, "state": secret.splitlines()[0]}
        for secret in secrets
    ]
    line = {
        "v": 1,
        "seq": seq,
        "state": "ready",
        "registered": True,
        "worker_id": text,
        "problem": f"cannot use {text}",
    }
    line |= {"calls": calls, "errors": {"total": seq, "by": {text.splitlines()[0]: seq}}, **more}
    os.write(fd, json.dumps(line).encode() + b"\n")


def speak(secret: str) -> None:
    data = secret.encode()
    for text in (
        secret,
        repr(secret),
        json.dumps(secret),
        json.dumps({"event": "worker.log", "message": secret, "nested": {secret: [secret]}}),
        json.dumps({"event": "agent.error", "kind": secret, "reason": secret, "room": secret}, ensure_ascii=False),
        quote(secret, safe=""),
        base64.b64encode(b"x" + data).decode(),
        base64.b64encode(b"user:" + data).decode(),
        "x" * (16 * 1024 - 10) + secret,
        f"postgres://me:{quote(secret, safe='')}@db/x",
        f"SOME_TOKEN={secret.split()[0]}",
    ):
        print(text, flush=True)


for secret in secrets:
    speak(secret)
began = time.monotonic()
for seq in range(1, 100_000):
    beat(seq)
    if draining.wait(0.2):
        break
    if time.monotonic() - began > float(os.environ["CANARY_SECONDS"]):
        speak(secrets[0])
        sys.stdout.flush()
        beat(seq, failure={"code": 1, "message": f"failed with {secrets[0]}"})
        os.kill(os.getpid(), signal.SIGKILL)
