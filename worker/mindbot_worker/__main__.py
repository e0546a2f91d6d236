"""`python -m mindbot_worker --agent MODULE:ATTR`: one worker, from its first heartbeat to its exit code."""

from __future__ import annotations

import argparse
import sys

from mindbot_config.standard_descriptors import open_standard
from mindbot_worker.program import Program


def main() -> None:
    open_standard()
    parser = argparse.ArgumentParser(prog="mindbot_worker", description=__doc__)
    parser.add_argument("--agent", metavar="MODULE:ATTR", help="the livekit.agents.AgentServer to run")
    arguments = parser.parse_args()
    sys.exit(Program(arguments.agent).run())


if __name__ == "__main__":
    main()
