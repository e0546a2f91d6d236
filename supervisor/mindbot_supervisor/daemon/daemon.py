"""The daemon: puts the pool, the engine, the log and the control socket together, and lives until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from mindbot_config.credentials import WEBHOOK_SECRET, Credentials
from mindbot_config.files.paths import Paths, resolve
from mindbot_config.load import Loaded
from mindbot_config.output.printable import printable
from mindbot_supervisor.control.operator_commands import Operations
from mindbot_supervisor.control.request_fields import Command, OfWorker
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.workers.model import Change, Ref
from mindbot_supervisor.core.workers.snapshot import take
from mindbot_supervisor.daemon import listening_sockets, save_and_restore_for_upgrade
from mindbot_supervisor.daemon.configuration import auto_limits, from_settings, run_mode
from mindbot_supervisor.daemon.configuration.reload import Reloader
from mindbot_supervisor.daemon.configuration.run_mode import Mode
from mindbot_supervisor.daemon.engine.engine import Engine
from mindbot_supervisor.daemon.local_services import LocalServices
from mindbot_supervisor.daemon.readiness import Readiness
from mindbot_supervisor.daemon.runtime_directory import FileRestorer
from mindbot_supervisor.daemon.signals_and_shutdown import SIGNALS, Shutdown, Signals
from mindbot_supervisor.errors import OK
from mindbot_supervisor.monitoring.activities import Activities
from mindbot_supervisor.observability.flight_journal import FlightRecords
from mindbot_supervisor.observability.logging import uncaught_exceptions
from mindbot_supervisor.observability.logging.log import Logs, utc_now
from mindbot_supervisor.observability.logging.log_sink import FAILED
from mindbot_supervisor.observability.metrics import Metrics
from mindbot_supervisor.observability.notifications import Notices
from mindbot_supervisor.observability.provider_usage import UsageBook
from mindbot_supervisor.observability.status import Json, View, of_launcher
from mindbot_supervisor.observability.systemd_notify import Systemd
from mindbot_supervisor.processes.launching.child_environment import for_children
from mindbot_supervisor.processes.launching.launch_options import LaunchOptions
from mindbot_supervisor.processes.limits import thread_pool
from mindbot_supervisor.processes.limits.descriptor_limit import DescriptorLimit
from mindbot_supervisor.processes.trees import orphan_reaper
from mindbot_supervisor.upgrade import in_place_upgrade, state_file
from mindbot_worker.protocol.heartbeat import Beat

if TYPE_CHECKING:
    from mindbot_supervisor.daemon.control_and_http_servers import Servers

DAY = 86400
_EXPOSITION = "mindbot_supervisor.observability.metrics"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says beside the settings."""

    local: bool = False


@cache
def own_version() -> str:
    """It stands in the package's metadata: to read that takes longer than the rest of a status."""
    return version("mindbot-supervisor")


class Daemon:
    """One run of the daemon. Whatever can be wrong is found before anything is started; `run` returns the exit code."""

    def __init__(self, loaded: Loaded, options: Options, load: Callable[[], Loaded]) -> None:
        self._loaded, self._load = loaded, load
        credentials = Credentials.from_environ(loaded.environ)
        self._server = run_mode.find_server(loaded.environ)
        self._mode = run_mode.choose(loaded.settings, credentials, local=options.local, server=self._server)
        self._paths: Paths = resolve(loaded.settings, loaded.environ, os.geteuid())
        self._state = state_file.receive(os.environ)
        state = self._state
        self._descriptors = DescriptorLimit.raised(state.descriptors if state is not None else None)
        if state is None:  # what runs already is not ended for a program that is replaced at this moment
            from_settings.check_command(loaded)
            from_settings.check_room(loaded, self._descriptors)
        self._sockets = (
            listening_sockets.bind(self._paths, loaded)
            if state is None
            else listening_sockets.take_over(self._paths, state)
        )
        self._started = time.monotonic() if state is None else state.started
        log = loaded.settings.log
        self._sink = from_settings.open_log(loaded, resumes=state is not None)
        redactor = from_settings.redactor(loaded)
        self._logs = Logs(self._sink, level=log.level, style=log.format, redactor=redactor, now=utc_now)
        self._extra: dict[str, str] = {}
        """What the local services add to the workers' environment."""
        self._children: set[int] = set()
        """Pids of children that are no workers."""
        self._serving: Servers | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Whatever comes of it, what was logged is written."""
        try:
            return await self._run()
        finally:
            self._logs.begin()
            self._logs.tick(all_of_it=True)
            self._sink.close()

    async def _run(self) -> int:
        self._signals = Signals()
        self._signals.listen()
        self._loop = asyncio.get_running_loop()
        self._sink.tell = self._sink_tells
        uncaught_exceptions.report_to(self._logs.note)
        self._activities = Activities(self._logs.note)
        orphan_reaper.become_subreaper()
        self._resolver = thread_pool.start()
        self._notices = Notices(lambda level, event, fields: self._logs.note(event, level, **fields), self._logs.mask)
        self._notices.keep_up = self._activities.add("notices").keep_up
        self._notify(self._loaded)
        if self._state is None:
            self._note_start()
        services = await self._start_services()
        self._put_together()
        if self._state is not None:
            self._resume(self._state)
        self._engine.start()
        try:
            self._logs.begin()
            await self._serve()
            return await self._live()
        finally:
            self._upgrader.close()
            await self._engine.close()
            self._records.close()
            await services.close()
            if self._serving is not None:
                await self._serving.close()
            self._logs.note(log_events.SUPERVISOR_STOPPED, uptime=round(time.monotonic() - self._started, 3))
            await self._notices.close()
            self._sockets.close()

    async def _serve(self) -> None:
        """Whoever connects before waits: the first workers do not wait for what this takes to load."""
        from mindbot_supervisor.control.server import Pages
        from mindbot_supervisor.daemon.control_and_http_servers import Servers

        pages = Pages(self._status, self._readiness.unready, self._exposed)
        questions = {"explain": Command(OfWorker, self._explain)}
        http = self._reloader.loaded.settings.http
        self._serving = Servers(self._sockets, http, self._logs.note, self._logs.redactor)
        await self._serving.start(pages, self._operations.commands(), questions)
        self._files = FileRestorer(
            (self._sockets.directory.restore, self._serving.restore, self._engine.workers.restore_files),
            self._logs.note,
        )

    async def _live(self) -> int:
        """Until the pool has ended: serve signals, and look after what the clock alone brings."""
        ended, signals = asyncio.create_task(self._engine.ended.wait()), asyncio.create_task(self._serve_signals())
        self._look_after()
        done, _ = await asyncio.wait({ended, signals}, return_when=asyncio.FIRST_COMPLETED)
        self._looking_after.cancel()
        if signals in done:
            signals.result()
        signals.cancel()
        gave_up = self._engine.gave_up
        if gave_up is None:
            return OK
        self._logs.note(log_events.SUPERVISOR_FAILED, "critical", detail=gave_up.message, code=gave_up.code)
        sys.stderr.write(f"mindbot-supervisor: error: {printable(self._logs.mask(gave_up.message))}\n")
        return gave_up.code

    async def _serve_signals(self) -> None:
        serving = self._activities.add("signals")
        while True:
            number = await self._signals.next()
            serving.attempt(partial(self._signals.serve, number), pause=False)
            self._readiness.inform_systemd()

    def _look_after(self) -> None:
        """Every second, by a timer: a task that waits would cost the daemon more than the look. Nothing stops it."""
        self._looking_after = asyncio.get_running_loop().call_later(self._readiness.interval, self._look_after)
        self._informing.attempt(self._readiness.inform_systemd, pause=False)
        self._restoring_files.attempt(self._files.restore)
        self._watching_env.attempt(self._reloader.watch_env)
        self._writing_log.attempt(self._sink.revive)
        self._telling.attempt(self._logs.tick)
        self._counting.attempt(self._count_usage)

    def _count_usage(self) -> None:
        self._usage.tick(time.monotonic(), int(time.time() // DAY), self._engine.pool.workers)

    # -- putting it together -------------------------------------------------------------------------------------------

    async def _start_services(self) -> LocalServices:
        """In local mode: the stand-ins for what the agents need."""
        services = LocalServices(
            self._server if self._mode is Mode.LOCAL_LIVEKIT else None,
            for_children(self._loaded.environ),
            lambda level, text: self._logs.note(log_events.LOCAL_OUTPUT, level, text=text),
            self._children,
            self._descriptors.popen,
        )
        if self._mode.local:
            starting = asyncio.create_task(services.start())
            await asyncio.sleep(0)  # they are started by now, and take longer than the log does
            self._logs.begin()
            addresses = await starting
            self._extra = {**addresses.environ(), **run_mode.worker_overrides(self._mode, self._loaded.settings)}
            detail = run_mode.explain(self._mode, addresses.livekit_url)
            self._logs.note(log_events.LOCAL_READY, mode=self._mode.value, detail=detail)
        return services

    def _put_together(self) -> None:
        note = self._logs.note
        add = self._activities.add
        self._informing, self._restoring_files = add("systemd"), add("runtime files")
        self._watching_env, self._counting, self._telling = add("env watch"), add("usage"), add("log summaries")
        self._writing_log = add("log writer", essential=True)
        self._activities.watch("log", self._sink.problem)
        self._records = FlightRecords(
            self._paths.state_dir,
            clean=self._logs.clean,
            transcripts=lambda: self._reloader.loaded.settings.log.log_transcripts,
            failed=lambda why: note(log_events.JOURNAL_FAILED, "warning", detail=why),
            writing=self._activities.add("journal writer"),
        )
        self._usage = UsageBook(self._loaded.settings.usage, note, time.monotonic())
        self._metrics = Metrics()
        self._engine = engine = self._make_engine()
        systemd = Systemd(self._loaded.environ)
        self._readiness = Readiness(engine.pool, systemd, note, self._started, self._activities.not_watching)
        self._shutdown = Shutdown(engine, systemd, note)
        self._reloader = Reloader(
            self._loaded,
            self._load,
            self._launch,
            self._follow,
            note,
            engine,
            self._mode,
            self._paths.runtime_dir,
            self._descriptors,
        )
        self._reloader.recover()
        self._upgrader = in_place_upgrade.Upgrader(
            engine=engine,
            handed_over=self._handed_over,
            before_exec=self._before_exec,
            note=note,
            children=self._children,
            signals=SIGNALS,
            impossible="local mode is not upgraded in place; stop it and start it again" if self._mode.local else "",
        )
        self._operations = Operations(
            engine.pool,
            engine.carry_out,
            self._shutdown.by_command,
            self._reloader.reload,
            self._upgrader.upgrade,
            engine.launcher.check_code,
            self._descriptors.refusal,
        )
        self._signals.actions = self._actions()

    def _make_engine(self) -> Engine:
        pool = Pool(auto_limits.policy(self._loaded.settings), time.monotonic())
        launch = self._launch(self._loaded)
        engine = Engine(
            pool, launch, self._activities, began=self._started, tell=self._tell, write_output=self._write_output
        )
        engine.launcher.tell(self._logs.note)
        engine.facts.on_beat, engine.processes.on_sample = self._heard, self._records.flights.sample
        engine.processes.other_children = self._children
        return engine

    def _launch(self, loaded: Loaded) -> LaunchOptions:
        return from_settings.launch(loaded, self._paths.runtime_dir, self._extra, self._descriptors.popen)

    def _actions(self) -> dict[int, Callable[[], object]]:
        """What each signal asks for."""
        return {
            signal.SIGTERM: partial(self._shutdown.by_signal, "SIGTERM"),
            signal.SIGINT: partial(self._shutdown.by_signal, "SIGINT"),
            signal.SIGHUP: self._reloader.reload_in_background,
            signal.SIGUSR1: lambda: self._logs.note(log_events.SUPERVISOR_STATUS, **self._status()),
            signal.SIGUSR2: self._upgrader.upgrade_in_background,
            signal.SIGTTIN: partial(self._operations.scale_by, +1),
            signal.SIGTTOU: partial(self._operations.scale_by, -1),
        }

    def _notify(self, loaded: Loaded) -> None:
        """Send notices by these settings from now on."""
        wanted = loaded.settings.notify
        self._notices.follow(wanted.webhook_url, loaded.environ.get(WEBHOOK_SECRET, ""), wanted.events)
        self._logs.offer = self._notices.offer

    def _follow(self, loaded: Loaded) -> None:
        """New settings are in force."""
        self._logs.set_level(loaded.settings.log.level)
        self._logs.learn(from_settings.redactor(loaded).values)
        self._notify(loaded)
        self._usage.follow(loaded.settings.usage)
        if self._serving is not None:
            self._serving.follow(loaded.settings.http)

    # -- an upgrade in place -------------------------------------------------------------------------------------------

    def _resume(self, state: state_file.State) -> None:
        """Go on where the version before was."""
        self._records.resume(state.flights, self._started)
        save_and_restore_for_upgrade.resume(self._engine, state)
        beats = ((ref, history.beat) for ref, history in self._engine.pool.histories.items())
        self._usage.resume((ref, beat.usage) for ref, beat in beats if beat is not None)
        self._metrics.resume(self._engine.pool.histories.items())
        self._logs.note(
            log_events.SUPERVISOR_UPGRADED,
            pid=os.getpid(),
            version=own_version(),
            workers=len(state.children),
            calls=self._engine.pool.active_calls,
        )
        self._readiness.resume()

    def _handed_over(self) -> state_file.State:
        engine, bound = self._engine, self._sockets
        return state_file.State(
            pool=take(engine.pool),
            children=save_and_restore_for_upgrade.children_of(engine),
            lock=bound.directory.lock,
            control=bound.control.socket.fileno(),
            http=bound.http_fd,
            names=bound.directory.instance.fds,
            control_place=bound.control.place,
            started=self._started,
            template=save_and_restore_for_upgrade.template_of(engine),
            jobservers=save_and_restore_for_upgrade.jobservers_of(engine),
            rescue=save_and_restore_for_upgrade.rescue_of(engine),
            flights=self._records.saved(),
            descriptors=self._descriptors.inherited,
        )

    def _before_exec(self) -> None:
        self._logs.tick(all_of_it=True)
        self._sink.flush()
        self._records.close()

    def _sink_tells(self, kind: str, text: str, lost: int) -> None:
        """In a thread of the sink."""
        self._loop.call_soon_threadsafe(self._sink_told, kind, text, lost)

    def _sink_told(self, kind: str, text: str, lost: int) -> None:
        """A target of the log fails, or has lost lines; the other one has this record."""
        if kind == FAILED:
            self._logs.note(log_events.LOG_UNWRITABLE, "error", detail=text)
        else:
            self._logs.note(log_events.LOG_DROPPED, "warning", lines=lost, detail=text)

    # -- what it hears and tells ---------------------------------------------------------------------------------------

    def _tell(self, change: Change) -> None:
        self._logs.change(change)
        self._records.tell(change)
        self._metrics.tell(change)
        if change.event == log_events.ROLLOUT_STOPPED:
            self._reloader.go_back()
        elif change.event == log_events.WORKER_READY:
            self._readiness.worker_ready()

    def _heard(self, ref: Ref, beat: Beat, now: float) -> None:
        self._records.flights.beat(ref, beat, now)
        self._usage.beat(ref, beat, now)
        self._metrics.beat(ref, beat)

    def _write_output(self, ref: Ref, pid: int, level: str, event: str, fields: Mapping[str, object]) -> None:
        self._logs.output(ref, pid, level, event, fields)
        self._records.output(ref, level, event, fields)

    def _status(self) -> Json:
        view = View(own_version(), os.getpid(), self._mode.value, self._started)
        status = view.status(self._engine.pool, time.monotonic(), time.time())
        launcher = of_launcher(self._engine.launcher.describe(), self._engine.processes.helpers)
        unhealthy = [health.fields() for health in self._activities.unhealthy()]
        supervisor = {**status["supervisor"], **launcher, "unhealthy": unhealthy}
        return {**status, "supervisor": supervisor, "usage": self._usage.totals()}

    async def _exposed(self, accept: str) -> tuple[bytes, str]:
        if _EXPOSITION not in sys.modules:
            await asyncio.to_thread(importlib.import_module, _EXPOSITION)  # the loop need not wait for it
        from mindbot_supervisor.observability.metrics import render

        return render(self._status(), self._metrics, platform.node(), accept)

    async def _explain(self, fields: OfWorker) -> Json:
        return self._records.explain(self._engine.pool, self._status(), fields.worker)

    def _note_start(self) -> None:
        pool = self._loaded.settings.pool
        self._logs.note(
            log_events.SUPERVISOR_STARTED,
            pid=os.getpid(),
            version=own_version(),
            workers=pool.workers,
            runs=pool.command.split()[0] if pool.command else pool.agent,
            mode=self._mode.value,
            socket=str(self._paths.socket),
            **auto_limits.found(),
        )
        for warning in self._loaded.warnings:
            self._logs.note(log_events.CONFIG_WARNED, "warning", detail=warning)


def run(loaded: Loaded, options: Options, load: Callable[[], Loaded]) -> int:
    """Run the daemon to its end; the exit code. Raises ConfigError or SupervisorError before anything is started.

    `load` reads the same sources again, for a reload.
    """
    import uvloop

    daemon = Daemon(loaded, options, load)
    with contextlib.suppress(KeyboardInterrupt):
        return uvloop.run(daemon.run())
    return OK
