"""`python -m mindbot_worker --agent MODULE:ATTR`: runs one worker, from its first heartbeat to its exit code."""

from __future__ import annotations

import sys

from mindbot_config.host.standard_descriptors import open_standard
from mindbot_worker import arguments
from mindbot_worker.runtime.main import Worker


def main() -> None:
    open_standard()
    given = arguments.read("mindbot_worker", {"agent": ""}, sys.argv[1:])
    sys.exit(Worker(given["agent"] or None).run())


if __name__ == "__main__":
    main()
