"""All benches one after another, then docs/benchmarks.md and the README's table: `python bench/all.py`.

Each bench keeps its last result, so one of them can be run again by itself and `--write` puts all together.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from contest import document, report

NAMES = (
    "replace_program",
    "replace_agent",
    "start",
    "memory",
    "daemon_cost",
    "notice_hang",
    "leak_overshoot",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="samples of each contestant in every bench; default: as each has it")
    parser.add_argument("--write", action="store_true", help="run nothing, only write what was found last")
    options = parser.parse_args()
    failed = [] if options.write else [name for name in NAMES if not run(name, options.rounds)]
    found = report.loaded(NAMES)
    document.write(found)
    print(document.summary(found))
    if failed:
        sys.exit(f"failed, so their last results stand: {', '.join(failed)}")


def run(name: str, rounds: int | None) -> bool:
    words = [] if rounds is None else ["--rounds", str(rounds)]
    command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *words]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    main()
