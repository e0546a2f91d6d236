"""What 200 short sessions leave behind in their worker: `python bench/sessions.py [SESSIONS] [AT_ONCE]`.

One MindBot worker, whose synthetic calls go through real job processes and the stand-ins, 10 at once; after each ten it
is looked at while no call is going on. The first fifth warms up. Prints a Markdown table and what is left over.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import textwrap
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("worker", "config", "tests")]

from functional.worker.conftest import Worker  # noqa: E402
from functional.worker.endurance import AGENT, SETTINGS, Endurance, Look, growth  # noqa: E402
from live.livekit import running_local  # noqa: E402

SESSIONS, AT_ONCE = 200, 10
WARM_UP = 0.2


def measure(folder: Path, environ: dict[str, str], sessions: int, at_once: int) -> None:
    (folder / "tmp").mkdir()
    (folder / "agent_under_test.py").write_text(textwrap.dedent(AGENT))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MINDBOT_", "LIVEKIT_"))}
    settings = {
        "TMPDIR": str(folder / "tmp"),
        "MINDBOT_WORKER__REGISTERED": "false",
        **SETTINGS,
        **environ,
    }
    worker = Worker(folder, ["--agent", "agent_under_test:server"], clean | settings, read_output=True)
    try:
        endurance, began = Endurance(worker, folder), time.monotonic()
        looks = []
        for _ in range(sessions // at_once):
            looks.append(endurance.run(at_once))
            print(row(looks[-1]), flush=True)
        tell(worker, endurance, looks, time.monotonic() - began)
    finally:
        worker.end()


def row(look: Look) -> str:
    sizes = (look.worker.pss, look.worker.anonymous, look.forkserver.pss, look.forkserver.anonymous, look.tree)
    counts = (*look.open_files.values(), look.tasks, len(look.job_processes), len(look.files))
    return f"| {' | '.join([str(look.sessions), *(f'{each:.1f}' for each in sizes), *map(str, counts)])} |"


def tell(worker: Worker, endurance: Endurance, looks: list[Look], took: float) -> None:
    warm = looks[int(len(looks) * WARM_UP) :]
    grown = {
        "worker, PSS": growth(warm, lambda look: look.worker.pss),
        "worker, anonymous": growth(warm, lambda look: look.worker.anonymous),
        "forkserver, PSS": growth(warm, lambda look: look.forkserver.pss),
        "forkserver, anonymous": growth(warm, lambda look: look.forkserver.anonymous),
        "tree, PSS": growth(warm, lambda look: look.tree),
    }
    print(f"\n{looks[-1].sessions} sessions in {took:.0f} s, {dict(Counter(endurance.outcomes()))}")
    print("growth after the warm-up: " + "; ".join(f"{name} {value:+.2f} %" for name, value in grown.items()))
    print(f"processes left over: {len(endurance.left_over())}; files new: {sorted(warm[-1].files - warm[0].files)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sessions", nargs="?", type=int, default=SESSIONS)
    parser.add_argument("at_once", nargs="?", type=int, default=AT_ONCE)
    options = parser.parse_args()
    print(
        "| sessions | worker PSS, MiB | anonymous | forkserver PSS | anonymous | tree PSS | files open in worker "
        "| in forkserver | tasks | job processes | files |\n|" + "---|" * 11,
        flush=True,
    )
    with running_local() as stack, tempfile.TemporaryDirectory() as folder:
        environ = {
            "MINDBOT_VOICE__OPENAI_BASE_URL": stack.openai_base_url,
            "MINDBOT_VOICE__DEEPGRAM_BASE_URL": stack.deepgram_base_url,
        }
        measure(Path(folder), environ, options.sessions, options.at_once)


if __name__ == "__main__":
    main()
