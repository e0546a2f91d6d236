"""What every worker of the pool is started with: command line, environment, runtime directory, template."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mindbot_config.output import strict_json
from mindbot_supervisor.core.workers.model import Ref
from mindbot_worker.protocol import heartbeat

StartProcess = Callable[..., "subprocess.Popen[bytes]"]
"""Takes what `subprocess.Popen` takes."""


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """The command line, the environment, the runtime directory."""

    command: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    runtime_dir: str
    agent: str = ""
    """MODULE:ATTR to be imported by a template; empty: every worker is started by exec."""
    popen: StartProcess = field(default=subprocess.Popen, repr=False, compare=False)
    """What starts a process, with the limits that it is to have."""

    def environ_of(self, ref: Ref) -> dict[str, str]:
        return {**self.environ_of_all(), **self.own_environ(ref)}

    def environ_of_all(self) -> dict[str, str]:
        return {**self.environ, heartbeat.RUNTIME_DIR: self.runtime_dir}

    def own_environ(self, ref: Ref) -> dict[str, str]:
        """The variables that differ from worker to worker."""
        return {heartbeat.WORKER_NAME: str(ref), heartbeat.SLOT: str(ref.slot)}

    def digest(self) -> str:
        """A hash by which launch options are compared without showing what is in them."""
        data = strict_json.dumps([list(self.command), sorted(self.environ.items()), self.runtime_dir, self.agent])
        return hashlib.sha256(data.encode()).hexdigest()

    def template_command(self) -> list[str]:
        return [sys.executable, "-P", "-m", "mindbot_worker.template", "--agent", self.agent]
