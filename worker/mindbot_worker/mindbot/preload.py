"""Side-effect module: loads the voice activity detector in the forkserver, for all job processes.

A model that runs in one thread, as this one does, can be forked; a process that has a second thread already cannot.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mindbot_config.load import from_environ
from mindbot_worker.mindbot.session import detector

if len(list(Path("/proc/self/task").iterdir())) == 1:
    with contextlib.suppress(Exception):  # each job process tries it again, and says what is wrong
        detector(from_environ(os.environ).voice)
