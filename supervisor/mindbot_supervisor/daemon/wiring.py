"""The wiring diagram of the daemon: builds every part and connects it with the others. Nothing runs on its own yet."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from mindbot_config.load import Loaded
from mindbot_supervisor.control.operator_commands import Operations
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.daemon import save_and_restore_for_upgrade
from mindbot_supervisor.daemon.configuration import auto_limits, from_settings, run_mode
from mindbot_supervisor.daemon.configuration.reload import Reloader
from mindbot_supervisor.daemon.engine.engine import Engine
from mindbot_supervisor.daemon.local_services import LocalServices
from mindbot_supervisor.daemon.readiness import Readiness
from mindbot_supervisor.daemon.reporting import Reporting
from mindbot_supervisor.daemon.signals_and_shutdown import SIGNALS, Shutdown, Signals
from mindbot_supervisor.daemon.startup import Prepared
from mindbot_supervisor.daemon.status_pages import StatusPages, own_version
from mindbot_supervisor.monitoring.activities import Activities
from mindbot_supervisor.monitoring.background_tasks import BackgroundTasks
from mindbot_supervisor.observability.logging import uncaught_exceptions
from mindbot_supervisor.observability.logging.log_sink import FAILED
from mindbot_supervisor.observability.systemd_notify import Systemd
from mindbot_supervisor.processes.launching.child_environment import for_children
from mindbot_supervisor.processes.limits import thread_pool
from mindbot_supervisor.processes.trees import orphan_reaper
from mindbot_supervisor.upgrade.in_place_upgrade import Upgrader

NOT_UPGRADED = "local mode is not upgraded in place; stop it and start it again"


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a running daemon consists of."""

    prepared: Prepared
    signals: Signals
    tasks: BackgroundTasks
    activities: Activities
    reporting: Reporting
    services: LocalServices
    engine: Engine
    readiness: Readiness
    reloader: Reloader
    upgrader: Upgrader
    operations: Operations
    pages: StatusPages


async def build(prepared: Prepared, load: Callable[[], Loaded]) -> Parts:
    """Build and connect the parts; `load` reads the settings again. Raises SupervisorError if local services fail."""
    loaded, logs, note = prepared.loaded, prepared.logs, prepared.logs.note
    signals = Signals()
    signals.listen()
    _report_to_log(prepared)
    tasks, activities = BackgroundTasks(), Activities(note)
    orphan_reaper.become_subreaper()
    thread_pool.start(tasks)
    reporting = Reporting(loaded, logs, prepared.paths.state_dir, activities)
    if prepared.state is None:
        _tell_start(prepared)

    children: set[int] = set()  # pids of children that are no workers
    services, extra = await _start_services(prepared, children)
    launch_of = partial(
        from_settings.launch,
        runtime_dir=prepared.paths.runtime_dir,
        extra=extra,
        start=prepared.descriptors.popen,
    )
    engine = Engine(
        Pool(auto_limits.policy(loaded.settings), time.monotonic()),
        launch_of(loaded),
        activities,
        began=prepared.started,
        tell=reporting.tell,
        write_output=reporting.output,
    )
    engine.launcher.tell(note)
    engine.facts.on_beat, engine.processes.on_sample = reporting.beat, reporting.sample
    engine.processes.other_children = children

    systemd = Systemd(loaded.environ)
    readiness = Readiness(engine.pool, systemd, note, prepared.started, activities.not_watching)
    shutdown = Shutdown(engine, systemd, note)
    reloader = Reloader(
        loaded,
        load,
        launch_of,
        [reporting.follow],
        note,
        engine,
        prepared.mode,
        prepared.paths.runtime_dir,
        prepared.descriptors,
        tasks,
    )
    reloader.recover()
    reporting.reactions[log_events.WORKER_READY] = readiness.worker_ready
    reporting.reactions[log_events.ROLLOUT_STOPPED] = reloader.go_back
    upgrader = Upgrader(
        engine=engine,
        handed_over=partial(save_and_restore_for_upgrade.save, engine, prepared, reporting.records),
        before_exec=partial(_write_everything, prepared, reporting),
        note=note,
        children=children,
        signals=SIGNALS,
        impossible=NOT_UPGRADED if prepared.mode.local else "",
    )
    operations = Operations(
        engine.pool,
        engine.carry_out,
        shutdown.by_command,
        reloader.reload,
        upgrader.upgrade,
        engine.launcher.check_code,
        prepared.descriptors.refusal,
    )
    pages = StatusPages(engine, reporting, activities, prepared.mode.value, prepared.started)
    signals.actions = {
        signal.SIGTERM: partial(shutdown.by_signal, "SIGTERM"),
        signal.SIGINT: partial(shutdown.by_signal, "SIGINT"),
        signal.SIGHUP: reloader.reload_in_background,
        signal.SIGUSR1: lambda: note(log_events.SUPERVISOR_STATUS, **pages.status()),
        signal.SIGUSR2: upgrader.upgrade_in_background,
        signal.SIGTTIN: partial(operations.scale_by, +1),
        signal.SIGTTOU: partial(operations.scale_by, -1),
    }
    return Parts(
        prepared,
        signals,
        tasks,
        activities,
        reporting,
        services,
        engine,
        readiness,
        reloader,
        upgrader,
        operations,
        pages,
    )


def _report_to_log(prepared: Prepared) -> None:
    """Failures of the log itself and exceptions that nobody caught are told in the log."""
    loop, note = asyncio.get_running_loop(), prepared.logs.note
    uncaught_exceptions.report_to(note)

    def told(kind: str, text: str, lost: int) -> None:
        if kind == FAILED:
            note(log_events.LOG_UNWRITABLE, "error", detail=text)
        else:
            note(log_events.LOG_DROPPED, "warning", lines=lost, detail=text)

    def tell(kind: str, text: str, lost: int) -> None:
        """In a thread of the sink: a target fails, or has lost lines; the other target has this record."""
        loop.call_soon_threadsafe(told, kind, text, lost)

    prepared.sink.tell = tell


def _tell_start(prepared: Prepared) -> None:
    pool, note = prepared.loaded.settings.pool, prepared.logs.note
    note(
        log_events.SUPERVISOR_STARTED,
        pid=os.getpid(),
        version=own_version(),
        workers=pool.workers,
        runs=pool.command.split()[0] if pool.command else pool.agent,
        mode=prepared.mode.value,
        socket=str(prepared.paths.socket),
        **auto_limits.found(),
    )
    for warning in prepared.loaded.warnings:
        note(log_events.CONFIG_WARNED, "warning", detail=warning)


async def _start_services(prepared: Prepared, children: set[int]) -> tuple[LocalServices, Mapping[str, str]]:
    """In local mode: start the stand-ins for what the agents need; what the workers' environment has beside."""
    loaded, mode, logs = prepared.loaded, prepared.mode, prepared.logs
    services = LocalServices(
        prepared.livekit_server if mode is run_mode.Mode.LOCAL_LIVEKIT else None,
        for_children(loaded.environ),
        lambda level, text: logs.note(log_events.LOCAL_OUTPUT, level, text=text),
        children,
        prepared.descriptors.popen,
    )
    if not mode.local:
        return services, {}
    starting = asyncio.create_task(services.start())
    await asyncio.sleep(0)  # they are started by now, and take longer than the log does
    logs.begin()
    addresses = await starting
    logs.note(log_events.LOCAL_READY, mode=mode.value, detail=run_mode.explain(mode, addresses.livekit_url))
    return services, {**addresses.environ(), **run_mode.worker_overrides(mode, loaded.settings)}


def _write_everything(prepared: Prepared, reporting: Reporting) -> None:
    """Before an exec: what is to be logged is written, and the journal is closed."""
    prepared.logs.tick(all_of_it=True)
    prepared.sink.flush()
    reporting.records.close()
