"""A worker for `--command` that names calls as told: `caller_worker.py SLOT=JSON …`.

The JSON is a list of steps `[seconds, fields of the heartbeat]`, each in force from so many seconds after the start on;
`null` for the fields ends the process at that time by SIGSEGV, `"hang"` has it ignore SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from mindbot_worker import wire

BEAT = 0.1


def main() -> None:
    told = dict(each.split("=", 1) for each in sys.argv[1:])
    steps = json.loads(told.get(os.environ[wire.SLOT], "[]"))
    if os.environ[wire.WORKER_NAME].partition(".")[2] != "1":
        steps = []  # only the first worker of a slot does anything
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ending.append(number))
    began, seq = time.monotonic(), 0
    while True:
        seq += 1
        fields: dict[str, object] = {}
        for at, what in steps:
            if time.monotonic() - began < at:
                continue
            if what is None:
                os.kill(os.getpid(), signal.SIGSEGV)
            elif what == "hang":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            else:
                fields = what
        calls = fields.get("calls")
        if ending and not calls:
            return
        state = wire.DRAINING if ending else wire.READY
        beat = {"v": 1, "seq": seq, "state": state, "registered": True, **fields}
        os.write(int(os.environ[wire.HEARTBEAT_FD]), json.dumps(beat).encode() + b"\n")
        time.sleep(BEAT)


if __name__ == "__main__":
    main()
