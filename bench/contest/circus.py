"""circus, and its plugin resource_watcher to watch the memory of its workers."""

from __future__ import annotations

import shlex

from contest import peers
from contest.contestants import Contestant
from contest.programs import Program
from contest.report import CIRCUS

BASE = """\
[circus]
endpoint = ipc://{folder}/endpoint
pubsub_endpoint = ipc://{folder}/pubsub
check_delay = {check_delay}

[watcher:worker]
cmd = {command}
working_dir = {folder}
copy_env = True
numprocesses = {count}
"""
RESOURCE_WATCHER = """
[plugin:memory]
use = circus.plugins.resource_watcher.ResourceWatcher
watcher = worker
max_mem = {limit_mb}M
loop_rate = {interval}
"""


class Circus(Contestant):
    """With a limit, resource_watcher restarts all workers when one was above it four times in a row.

    It looks for ended workers every `check_delay` seconds; 5 is its default.
    """

    key, label = CIRCUS, "circus 0.19.0"

    check_delay = 5.0

    def __init__(self, program: Program, count: int, *, limit_mb: int = 0, interval: int = 60) -> None:
        super().__init__(program, count)
        self.limit_mb, self.interval = limit_mb, interval

    def command(self) -> list[str]:
        text = BASE.format(
            folder=self.folder,
            check_delay=self.check_delay,
            command=shlex.join(self.program.words),
            count=self.count,
        )
        if self.limit_mb:
            text += RESOURCE_WATCHER.format(limit_mb=self.limit_mb, interval=self.interval)
        config = self.folder / "circus.ini"
        config.write_text(text)
        return [str(peers.programs(CIRCUS) / "circusd"), str(config)]


class FastCircus(Circus):
    """It looks fifty times as often as by default."""

    key, label = "circus-fast", "circus 0.19.0, check_delay = 0.1"
    check_delay = 0.1
