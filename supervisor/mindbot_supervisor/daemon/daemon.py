"""One run of the daemon, from the first signal handler to the last line of the log."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from mindbot_config.load import Loaded
from mindbot_config.output.printable import printable
from mindbot_supervisor.control.request_fields import Command, OfWorker
from mindbot_supervisor.core import log_events
from mindbot_supervisor.daemon import save_and_restore_for_upgrade, wiring
from mindbot_supervisor.daemon.runtime_files.runtime_directory import FileRestorer
from mindbot_supervisor.daemon.startup import Options, Prepared, prepare
from mindbot_supervisor.daemon.status_pages import own_version
from mindbot_supervisor.daemon.wiring import Parts
from mindbot_supervisor.errors import OK
from mindbot_supervisor.monitoring.activities import Activity
from mindbot_supervisor.monitoring.background_tasks import PeriodicTimer
from mindbot_supervisor.upgrade.state_file import State

if TYPE_CHECKING:
    from mindbot_supervisor.daemon.control_and_http_servers import Servers

__all__ = ["Options", "run"]


def run(loaded: Loaded, options: Options, load: Callable[[], Loaded]) -> int:
    """Run the daemon to its end; the exit code. Raises ConfigError or SupervisorError before anything is started.

    `load` reads the same sources again, for a reload.
    """
    import uvloop

    prepared = prepare(loaded, options)
    with contextlib.suppress(KeyboardInterrupt):
        return uvloop.run(_run(prepared, load))
    return OK


async def _run(prepared: Prepared, load: Callable[[], Loaded]) -> int:
    """Build and run the daemon; whatever happens, what was logged is written at the end."""
    try:
        return await Daemon(await wiring.build(prepared, load)).run()
    finally:
        prepared.logs.begin()
        prepared.logs.tick(all_of_it=True)
        prepared.sink.close()


class Daemon:
    """Starts the parts, serves signals and requests until the pool has ended, and closes the parts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._servers: Servers | None = None
        self._timer: PeriodicTimer | None = None

    async def run(self) -> int:
        """Run to the end of the pool; the exit code."""
        parts = self._parts
        if parts.prepared.state is not None:
            self._resume(parts.prepared.state)
        parts.engine.start()
        try:
            parts.prepared.logs.begin()
            files = await self._serve()
            return await self._live(files)
        finally:
            await self._close()

    async def _close(self) -> None:
        """Close the parts. Requests are answered until the pool and all that came from it are gone."""
        parts, prepared = self._parts, self._parts.prepared
        if self._timer is not None:
            self._timer.stop()
        await parts.tasks.cancel()
        parts.upgrader.close()
        await parts.engine.close()
        parts.reporting.records.close()
        await parts.services.close()
        if self._servers is not None:
            await self._servers.close()
        prepared.logs.note(log_events.SUPERVISOR_STOPPED, uptime=round(time.monotonic() - prepared.started, 3))
        await parts.reporting.close()
        prepared.sockets.close()

    async def _serve(self) -> FileRestorer:
        """Answer requests. Clients that connected before wait; the first workers do not wait for what this loads."""
        from mindbot_supervisor.control.server import Pages
        from mindbot_supervisor.daemon.control_and_http_servers import Servers

        parts, prepared = self._parts, self._parts.prepared
        pages = Pages(parts.pages.status, parts.readiness.unready, parts.pages.metrics)
        questions = {"explain": Command(OfWorker, parts.pages.explain)}
        settings = parts.reloader.loaded.settings.http
        self._servers = servers = Servers(prepared.sockets, settings, prepared.logs.note, prepared.logs.redactor)
        await servers.start(pages, parts.operations.commands(), questions)
        parts.reloader.followers.append(lambda loaded: servers.follow(loaded.settings.http))
        restorers = (prepared.sockets.directory.restore, servers.restore, parts.engine.workers.restore_files)
        return FileRestorer(restorers, prepared.logs.note)

    async def _live(self, files: FileRestorer) -> int:
        """Serve signals and do the periodic work until the pool has ended; the exit code."""
        parts = self._parts
        serving = parts.activities.add("signals")
        parts.tasks.start(serving.run_task(partial(self._serve_signals, serving)))
        self._timer = PeriodicTimer(parts.readiness.interval, self._periodic_work(files))
        self._timer.start()
        await parts.engine.ended.wait()
        gave_up, logs = parts.engine.gave_up, parts.prepared.logs
        if gave_up is None:
            return OK
        logs.note(log_events.SUPERVISOR_FAILED, "critical", detail=gave_up.message, code=gave_up.code)
        sys.stderr.write(f"mindbot-supervisor: error: {printable(logs.mask(gave_up.message))}\n")
        return gave_up.code

    async def _serve_signals(self, serving: Activity) -> None:
        signals = self._parts.signals
        while True:
            number = await signals.next()
            serving.attempt(partial(signals.serve, number), pause=False)
            self._parts.readiness.inform_systemd()

    def _periodic_work(self, files: FileRestorer) -> list[Callable[[], None]]:
        """What is done every second. A failure is told, and the work is tried again after a back-off."""
        parts, add, sink = self._parts, self._parts.activities.add, self._parts.prepared.sink
        parts.activities.watch("log", sink.problem)
        return [
            partial(add("systemd").attempt, parts.readiness.inform_systemd, pause=False),
            partial(add("runtime files").attempt, files.restore),
            partial(add("env watch").attempt, parts.reloader.watch_env),
            partial(add("log writer", essential=True).attempt, sink.revive),
            partial(add("log summaries").attempt, parts.prepared.logs.tick),
            partial(add("usage").attempt, partial(parts.reporting.count_usage, parts.engine.pool)),
        ]

    def _resume(self, state: State) -> None:
        """After an upgrade: go on where the version before was."""
        parts, pool = self._parts, self._parts.engine.pool
        parts.reporting.records.resume(state.flights, parts.prepared.started)
        save_and_restore_for_upgrade.restore(parts.engine, state)
        parts.reporting.resume(pool)
        parts.prepared.logs.note(
            log_events.SUPERVISOR_UPGRADED,
            pid=os.getpid(),
            version=own_version(),
            workers=len(state.children),
            calls=pool.active_calls,
        )
        parts.readiness.resume()
