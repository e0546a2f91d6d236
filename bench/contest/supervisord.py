"""supervisord, and superlance's memmon to watch the memory of its workers."""

from __future__ import annotations

import shlex

from contest import peers
from contest.contestants import Contestant
from contest.programs import Program
from contest.report import SUPERVISORD

BASE = """\
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
minfds={descriptors}

[unix_http_server]
file={folder}/s.sock

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{folder}/s.sock

[program:worker]
command={command}
directory={folder}
process_name=%(program_name)s_%(process_num)04d
numprocs={count}
autostart=true
"""
MEMMON = """
[eventlistener:memmon]
command={memmon} -g worker={limit_mb}MB
events={tick}
"""
DESCRIPTORS_EACH = 6
"""Pipes and log files that supervisord holds open for one worker."""


class Supervisord(Contestant):
    """With a limit, memmon restarts workers above it; it looks once in each tick: TICK_60 (as documented) or TICK_5."""

    key, label = SUPERVISORD, "supervisord 4.3.0"

    def __init__(self, program: Program, count: int, *, limit_mb: int = 0, tick: str = "TICK_60") -> None:
        super().__init__(program, count)
        self.limit_mb, self.tick = limit_mb, tick

    def command(self) -> list[str]:
        programs = peers.programs(SUPERVISORD)
        text = BASE.format(
            folder=self.folder,
            descriptors=1024 + DESCRIPTORS_EACH * self.count,
            command=shlex.join(self.program.words).replace("%", "%%"),
            count=self.count,
        )
        if self.limit_mb:
            text += MEMMON.format(memmon=programs / "memmon", limit_mb=self.limit_mb, tick=self.tick)
        config = self.folder / "supervisord.conf"
        config.write_text(text)
        return [str(programs / "supervisord"), "-c", str(config)]
