"""All settings, as one frozen model that is passed whole."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from mindbot_config.combinations import ClashError, clashes
from mindbot_config.sections.base import OptionalPath
from mindbot_config.sections.http import Http, Log, Notify
from mindbot_config.sections.limits import Limits, Pool, Restart, Section
from mindbot_config.sections.usage import Usage
from mindbot_config.sections.voice import Voice
from mindbot_config.sections.worker import Env, Recovery, Worker


class Settings(Section):
    """Every setting of mindbot-supervisor; `Settings()` is all defaults and reads nothing."""

    socket: OptionalPath = None
    """The control socket. Empty: control.sock in `runtime_dir`. At most 107 bytes long."""
    runtime_dir: OptionalPath = None
    """Directory for what lives as long as the daemon: socket, call journals. Empty: $RUNTIME_DIRECTORY (systemd), or
    /run/mindbot for root, else $XDG_RUNTIME_DIR/mindbot, else /tmp/mindbot-UID; beside `socket` where only that is
    given. Give each of several daemons on one host its own."""
    state_dir: OptionalPath = None
    """Directory for what outlives the daemon: its journal, support files. Empty: $STATE_DIRECTORY (systemd), or
    /var/lib/mindbot for root, else $XDG_STATE_HOME/mindbot, else ~/.local/state/mindbot."""

    pool: Pool = Pool()
    limits: Limits = Limits()
    restart: Restart = Restart()
    recovery: Recovery = Recovery()
    voice: Voice = Voice()
    usage: Usage = Usage()
    log: Log = Log()
    http: Http = Http()
    notify: Notify = Notify()
    env: Env = Env()
    worker: Worker = Worker()

    @model_validator(mode="after")
    def _work_together(self) -> Self:
        if found := tuple(clashes(self)):
            raise ClashError(*found)
        return self

    @property
    def heartbeat_required(self) -> bool:
        """Whether silence of a worker means that it is hung."""
        if self.worker.heartbeat == "auto":
            return not self.pool.command
        return self.worker.heartbeat == "required"
