"""A worker for `--command` that names calls as told: `caller_worker.py SLOT=JSON …`.

The JSON is a list of steps `[when, fields of the heartbeat]`, each in force from so many seconds after the start on, or
from when a file of that name is there;
`null` for the fields ends the process at that time by SIGSEGV, `"hang"` has it ignore SIGTERM. The pid "CHILD" is that
of a process that it starts, "OWN" its own. Only the first worker of a slot does any of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mindbot_worker.protocol import heartbeat

BEAT = 0.1


def steps() -> list[tuple[float | str, object]]:
    told = dict(each.split("=", 1) for each in sys.argv[1:])
    text = told.get(os.environ[heartbeat.SLOT], "[]")
    if os.environ[heartbeat.WORKER_NAME].partition(".")[2] != "1":
        return []
    if '"CHILD"' in text:
        child = subprocess.Popen(["sleep", "600"])
        text = text.replace('"CHILD"', str(child.pid))
    found: list[tuple[float | str, object]] = json.loads(text.replace('"OWN"', str(os.getpid())))
    return found


def is_due(when: float | str, began: float) -> bool:
    return Path(when).exists() if isinstance(when, str) else time.monotonic() - began >= when


def main() -> None:
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ending.append(number))
    planned, began, seq, fields = steps(), time.monotonic(), 0, {}
    while True:
        seq += 1
        while planned and is_due(planned[0][0], began):
            _, what = planned.pop(0)
            if what is None:
                os.kill(os.getpid(), signal.SIGSEGV)
            elif what == "hang":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            else:
                fields = what
        if ending and not fields.get("calls"):
            return
        state = heartbeat.DRAINING if ending else heartbeat.READY
        beat = {"v": 1, "seq": seq, "state": state, "registered": True, **fields}
        os.write(int(os.environ[heartbeat.HEARTBEAT_FD]), json.dumps(beat).encode() + b"\n")
        time.sleep(BEAT)


if __name__ == "__main__":
    main()
