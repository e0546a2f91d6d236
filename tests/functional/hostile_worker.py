"""A worker that sends what a hostile caller or agent could: escape codes, text turned round, halves of characters.

The first one of its slot dies after two seconds; its flight record holds the same words. With the argument "never" it
says that it can never work, in the same words.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

from mindbot_worker.protocol import heartbeat

BAD = "\x1b[2J\x1b]0;owned\x07 over\rwritten\nline \x9b31m \x85 \x7f \x00 "
BAD += "\u202etxt.exe \u2066x\u2069 \u200f\u200e \u2028 \ud800 end"


def main() -> None:
    lives = 2.0 if os.environ[heartbeat.WORKER_NAME].endswith(".1") else 3600.0
    out = int(os.environ[heartbeat.HEARTBEAT_FD])
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    call = {"room": f"room {BAD}", "job": f"AJ {BAD}", "identity": f"caller {BAD}", "state": BAD, "idle": 0.0}
    beat = {"v": 1, "state": "ready", "registered": True, "worker_id": BAD, "calls": [call]}
    beat["problem"] = f"problem {BAD}"
    if "never" in sys.argv:
        failed = {"v": 1, "seq": 1, "state": "starting", "failure": {"code": 78, "message": f"never {BAD}"}}
        os.write(out, json.dumps(failed).encode() + b"\n")
        sys.exit(78)
    began, seq = time.monotonic(), 0
    while not ended.wait(0.2):
        seq += 1
        os.write(out, json.dumps({**beat, "seq": seq, "errors": {"total": seq, "by": {BAD: seq}}}).encode() + b"\n")
        os.write(1, f"said {BAD}\n".encode(errors="surrogatepass"))
        os.write(2, b"\xff\xfe\x1b[2J raw bytes \x9b\n")
        if time.monotonic() - began > lives:
            os._exit(3)


main()
