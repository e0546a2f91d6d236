"""The daemon on asyncio's own loop, with the CPU time of every callback measured: `timed_program.py FILE ARGUMENT…`.

The longest is written to FILE at the end, as JSON: seconds of the loop's thread, and what it was.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop


def main() -> int:
    place = Path(sys.argv[1])
    longest: list[object] = [0.0, ""]
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        took = time.thread_time() - began
        if took > longest[0] and (place.with_suffix(".begin")).exists():  # what comes before is the start: imports
            longest[:] = took, repr(handle)

    asyncio.Handle._run = timed
    uvloop.run = asyncio.run
    from mindbot_supervisor.cli import main as command_line

    code = command_line(sys.argv[2:])
    place.write_text(json.dumps(longest))
    return code


if __name__ == "__main__":
    sys.exit(main())
