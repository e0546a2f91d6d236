"""Side-effect module: LiveKit's forkserver imports it first, so every job process is safe from its first moment.

Under `spawn` there is no forkserver, and `jobs.entry.Setup` does the same a little later.
"""

from __future__ import annotations

import multiprocessing
import os
import sys

from mindbot_worker import agent_path
from mindbot_worker.jobs import (
    warm_imports,  # noqa: F401 - imported here, they are shared by all job processes
)
from mindbot_worker.jobs.process_setup import settle
from mindbot_worker.logging.nonblocking_output import guard

# In the forkserver only: it has no multiprocessing parent, and it is no program of ours or of the user.
if multiprocessing.parent_process() is None and sys.argv[:1] == ["-c"]:
    settle()
    guard()
    agent_path.enter(os.environ.get(agent_path.FOLDER, ""))
