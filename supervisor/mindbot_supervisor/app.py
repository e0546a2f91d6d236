"""The daemon: puts the pool, the engine, the log and the control socket together, and lives until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from mindbot_config.credentials import Credentials, secret_values
from mindbot_config.errors import ConfigError
from mindbot_config.paths import Paths, resolve
from mindbot_config.sources import Loaded

from . import directory, handover, mode, recover, upgrade
from .core import events
from .core.model import Change, Phase, Ref
from .core.policy import Policy
from .core.pool import Pool
from .core.snapshot import take
from .errors import OK, Refused, SupervisorError
from .mode import Mode
from .operate import Operations
from .ops.control import Pages, Server, bind_tcp, bind_unix, control_app, http_app
from .ops.logs import Logs, utc_now
from .ops.notify import Systemd
from .ops.redact import Redactor
from .ops.sink import Sink
from .ops.view import Json, View
from .records import Records
from .reload import difference
from .runtime import linux
from .runtime.engine import Engine, Launch
from .runtime.local import LocalServices

NOT_FOR_WORKERS = frozenset(
    {handover.VARIABLE, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"}
)
"""What systemd told the daemon, and nobody else."""
EXTENSION = 30.0
"""Seconds of stopping time asked of systemd at once, while calls last."""
SIGNALS = tuple(signal.Signals[f"SIG{name}"] for name in ("TERM", "INT", "HUP", "USR1", "USR2", "TTIN", "TTOU"))
HEARTBEAT = 1.0
"""Seconds between two looks at the state for systemd's sake."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says beside the settings."""

    local: bool = False


class Daemon:
    """One run of the daemon. `prepare` fails before anything is started; `run` returns the exit code."""

    def __init__(self, loaded: Loaded, options: Options, load: Callable[[], Loaded]) -> None:
        self._loaded, self._load = loaded, load
        self._settings = loaded.settings
        self._http_is_default = loaded.sources["http.listen"] == "default"
        credentials = Credentials.from_environ(loaded.environ)
        self._server = mode.find_server(loaded.environ)
        self._mode = mode.choose(self._settings, credentials, local=options.local, server=self._server)
        self._paths: Paths = resolve(self._settings, loaded.environ, os.geteuid())
        self._state = handover.receive(os.environ)
        self._bind()
        self._systemd = Systemd(loaded.environ)
        self._signals: asyncio.Queue[int] = asyncio.Queue()
        self._was_ready = False
        self._env_stamp: tuple[int, int] | None = None
        self._before: Launch | None = None
        """What workers were started with before the last reload."""
        log = self._settings.log
        redactor = Redactor(secret_values(loaded.environ))
        self._sink = Sink(1, log.file)
        self._logs = Logs(self._sink, level=log.level, style=log.format, redactor=redactor, now=utc_now)

    def _bind(self) -> None:
        """Lock and listening sockets: new ones, or those of the version before."""
        state = self._state
        if state is None:
            self._lock = directory.claim(self._paths.runtime_dir)
            self._control = bind_unix(self._paths.socket)
            self._http, self._http_problem = self._bind_http()
            return
        self._lock, self._control = state.lock, socket.socket(fileno=state.control)
        self._http, self._http_problem = (socket.socket(fileno=state.http) if state.http is not None else None), ""

    def _bind_http(self) -> tuple[socket.socket | None, str]:
        """A taken port refuses the start only where the operator chose it: calls matter more than a page."""
        address = self._settings.http.address
        if address is None:
            return None, ""
        try:
            return bind_tcp(*address), ""
        except Refused as exc:
            if not self._http_is_default:
                raise
            return None, str(exc)

    async def run(self) -> int:
        self._started = self._state.started if self._state is not None else time.monotonic()
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._signals.put_nowait, number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        loop.set_exception_handler(self._report_bug)
        linux.become_subreaper()
        if self._state is None:
            self._note_start()
        self._children: set[int] = set()
        children = self._children
        services = LocalServices(
            self._server if self._mode is Mode.LOCAL_LIVEKIT else None,
            _for_children(self._loaded.environ),
            self._write_local,
            children,
        )
        self._extra: dict[str, str] = {}
        if self._mode.local:
            addresses = await services.start()
            self._extra = {**addresses.environ(), **mode.worker_overrides(self._mode, self._settings)}
            self._logs.note(
                events.LOCAL_READY, mode=self._mode.value, detail=mode.explain(self._mode, addresses.livekit_url)
            )
        self._records = Records(
            self._paths.state_dir,
            redact=self._logs.mask,
            transcripts=lambda: self._loaded.settings.log.log_transcripts,
            failed=lambda why: self._logs.note(events.JOURNAL_FAILED, "warning", detail=why),
        )
        self._engine = self._make_engine()
        self._records.attach(self._engine)
        self._engine.other_children = children
        recover.follow(self._engine, self._settings, self._engine.launch.environ, self._paths.runtime_dir)
        self._upgrader = upgrade.Upgrader(
            engine=self._engine,
            handed_over=self._handed_over,
            before_exec=self._before_exec,
            note=self._logs.note,
            children=children,
            signals=SIGNALS,
            impossible="local mode is not upgraded in place; stop it and start it again" if self._mode.local else "",
        )
        self._operations = Operations(
            self._engine.pool, self._engine.carry_out, self._stop_by_command, self._reload, self._upgrader.upgrade
        )
        servers = await self._serve()
        if self._state is not None:
            self._resume(self._state)
        self._engine.start()
        try:
            return await self._live()
        finally:
            await self._engine.close()
            self._records.close()
            await services.close()
            for server in servers:
                await server.close()
            self._paths.socket.unlink(missing_ok=True)
            self._logs.note(events.SUPERVISOR_STOPPED, uptime=round(time.monotonic() - self._started, 3))
            self._sink.close()
            os.close(self._lock)

    def _resume(self, state: handover.State) -> None:
        """Go on where the version before was."""
        self._records.recall(state.started)
        upgrade.resume(self._engine, state)
        self._was_ready = self._engine.pool.ready > 0
        self._logs.note(
            events.SUPERVISOR_UPGRADED,
            pid=os.getpid(),
            version=version("mindbot-supervisor"),
            workers=len(state.children),
            calls=self._engine.pool.active_calls,
        )
        if self._was_ready:
            self._systemd.ready()

    def _handed_over(self) -> handover.State:
        http = self._http.fileno() if self._http is not None else None
        children = upgrade.children_of(self._engine)
        pool = take(self._engine.pool)
        return handover.State(pool, children, self._lock, self._control.fileno(), http, self._started)

    def _before_exec(self) -> None:
        self._sink.flush()
        self._records.flush()

    def _make_engine(self) -> Engine:
        pool = Pool(self._policy(self._loaded), time.monotonic())
        return Engine(pool, self._launch(self._loaded), tell=self._tell, write_output=self._write_output)

    def _policy(self, loaded: Loaded) -> Policy:
        settings = loaded.settings
        return Policy.of(
            settings.pool,
            settings.limits,
            settings.restart,
            host_mb=psutil.virtual_memory().total / 1024 / 1024,
            cores=len(os.sched_getaffinity(0)),
            beats_required=settings.heartbeat_required,
            ready_after=settings.worker.ready_after,
        )

    def _launch(self, loaded: Loaded) -> Launch:
        environ = {**_for_children(loaded.environ), **self._extra}
        return Launch(mode.worker_command(loaded.settings), environ, str(self._paths.runtime_dir))

    async def _serve(self) -> list[Server]:
        pages = Pages(self._status, self._unready)
        servers = [Server(control_app(pages, self._operations.commands(), {"explain": self._explain}), self._control)]
        if self._http is not None:
            servers.append(Server(http_app(pages), self._http))
            host, port = self._http.getsockname()[:2]
            self._logs.note(events.HTTP_LISTENING, address=f"{host}:{port}")
        elif self._http_problem:
            self._logs.note(events.HTTP_UNAVAILABLE, "warning", detail=self._http_problem)
        for server in servers:
            await server.start()
        return servers

    # -- living --------------------------------------------------------------------------------------------------------

    async def _live(self) -> int:
        """Until the pool has ended: serve signals, and keep systemd informed."""
        ended = asyncio.create_task(self._engine.ended.wait())
        interval = min(HEARTBEAT, (self._systemd.watchdog or HEARTBEAT * 2) / 2)
        while not ended.done():
            asked = asyncio.create_task(self._signals.get())
            done, _ = await asyncio.wait({ended, asked}, timeout=interval, return_when=asyncio.FIRST_COMPLETED)
            if asked in done:
                self._signal(asked.result())
            asked.cancel()
            self._inform_systemd()
            self._watch_env()
        gave_up = self._engine.gave_up
        if gave_up is None:
            return OK
        self._logs.note(events.SUPERVISOR_FAILED, "critical", detail=gave_up.message, code=gave_up.code)
        sys.stderr.write(f"mindbot-supervisor: error: {gave_up.message}\n")
        return gave_up.code

    def _signal(self, number: int) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT:
                self._stop(now=self._engine.pool.stopping, why=signal.Signals(number).name)
            case signal.SIGUSR1:
                self._logs.note(events.SUPERVISOR_STATUS, **self._status())
            case signal.SIGHUP:
                with contextlib.suppress(Refused):  # it is in the log
                    self._reload()
            case signal.SIGUSR2:
                self._background = asyncio.create_task(self._upgrader.upgrade_by_signal())
            case signal.SIGTTIN:
                self._operations.scale_by(+1)
            case signal.SIGTTOU:
                self._operations.scale_by(-1)

    def _stop(self, *, now: bool, why: str) -> None:
        pool = self._engine.pool
        fields: dict[str, object] = {"reason": why, "now": now, "calls": pool.active_calls}
        self._logs.note(events.SUPERVISOR_STOPPING, "warning" if now else "info", **fields)
        self._systemd.stopping()
        if now:
            self._engine.stop_now()
        else:
            self._engine.stop()

    def _stop_by_command(self, now: bool) -> None:
        self._stop(now=now, why="command")

    def _reload(self) -> Json:
        """Read settings and env file again, and let follow what changed. A bad one changes nothing: Refused."""
        try:
            new = self._load()
            mode.check(new, self._mode)
        except (ConfigError, SupervisorError) as exc:
            self._logs.note(events.CONFIG_REJECTED, "error", detail=str(exc))
            raise Refused(f"{exc}; the old settings stay in force") from exc
        old, engine, now = self._loaded, self._engine, time.monotonic()
        launch = self._launch(new)
        found = difference(old, new, engine.launch, launch)
        self._logs.note(events.SUPERVISOR_RELOADED, **found.fields())
        self._logs.set_level(new.settings.log.level)
        self._logs.set_redactor(Redactor(secret_values(new.environ)))
        self._loaded, self._before, engine.launch = new, engine.launch, launch
        engine.pool.follow(self._policy(new))
        recover.follow(engine, new.settings, launch.environ, self._paths.runtime_dir)
        if new.settings.pool.workers != old.settings.pool.workers:
            engine.carry_out(engine.pool.scale(new.settings.pool.workers, now))
        if found.roll is not None:
            engine.carry_out(engine.pool.restart(list(engine.pool.slots), now, found.roll))
        return {**found.fields(), "rolling": found.roll is not None}

    def _watch_env(self) -> None:
        """Reload when the env file was changed, where that is wanted."""
        env = self._loaded.settings.env
        stamp = env_stamp(env.file) if env.watch else None
        if stamp is not None and self._env_stamp is not None and stamp != self._env_stamp:
            self._logs.note(events.ENV_CHANGED, file=str(env.file))
            with contextlib.suppress(Refused):
                self._reload()
        self._env_stamp = stamp if stamp is not None else self._env_stamp

    def _inform_systemd(self) -> None:
        self._systemd.alive()
        pool = self._engine.pool
        if pool.stopping:
            self._systemd.extend(EXTENSION)
        ready, calls = pool.ready, pool.active_calls
        self._systemd.status(f"{ready} of {len(pool.slots)} workers ready, {calls} calls")

    async def _explain(self, fields: Mapping[str, object]) -> Json:
        return self._records.explain(self._engine, self._status(), str(fields.get("worker", "")))

    def _write_output(self, ref: Ref, pid: int, level: str, event: str, fields: Mapping[str, object]) -> None:
        self._logs.output(ref, pid, level, event, fields)
        self._records.output(ref, level, event, fields)

    def _tell(self, change: Change) -> None:
        self._logs.change(change)
        self._records.tell(change)
        if change.event == events.ROLLOUT_STOPPED and self._before is not None:
            self._engine.launch = self._before  # what the kept workers run is known to work
        if change.event == events.WORKER_READY and not self._was_ready:
            self._was_ready = True
            took = round(time.monotonic() - self._started, 3)
            self._logs.note(events.SUPERVISOR_READY, after=took)
            self._systemd.ready()

    def _note_start(self) -> None:
        pool = self._settings.pool
        self._logs.note(
            events.SUPERVISOR_STARTED,
            pid=os.getpid(),
            version=version("mindbot-supervisor"),
            workers=pool.workers,
            runs=pool.command.split()[0] if pool.command else pool.agent,
            mode=self._mode.value,
            socket=str(self._paths.socket),
        )

    def _write_local(self, level: str, text: str) -> None:
        self._logs.note(events.LOCAL_OUTPUT, level, text=text)

    def _report_bug(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception nobody caught: told with its place, without the values it was about, and survived."""
        exc = context.get("exception")
        frames = traceback.extract_tb(exc.__traceback__) if isinstance(exc, BaseException) else []
        where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-5:]]
        what = f"{type(exc).__name__}: {exc}" if exc is not None else str(context.get("message"))
        self._logs.note(events.SUPERVISOR_BUG, "critical", detail=what, where=where)

    # -- what it tells -------------------------------------------------------------------------------------------------

    def _status(self) -> Json:
        view = View(version("mindbot-supervisor"), os.getpid(), self._mode.value, self._started)
        return view.status(self._engine.pool, time.monotonic(), time.time())

    def _unready(self) -> str | None:
        """Why no caller could be served now, or None."""
        pool = self._engine.pool
        if pool.stopping:
            return "the pool is stopping"
        ready = [worker for worker in pool.workers.values() if worker.phase is Phase.READY]
        if not ready:
            return pool.brake.hold.detail if pool.brake.hold else "no worker is ready"
        if all(worker.registered is False for worker in ready):
            return pool.brake.hold.detail if pool.brake.hold else "no worker is registered with LiveKit"
        return None


def run(loaded: Loaded, options: Options, load: Callable[[], Loaded]) -> int:
    """Run the daemon to its end; the exit code. Raises ConfigError or SupervisorError before anything is started.

    `load` reads the same sources again, for a reload.
    """
    import uvloop

    daemon = Daemon(loaded, options, load)
    with contextlib.suppress(KeyboardInterrupt):
        return uvloop.run(daemon.run())
    return OK


def _for_children(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in NOT_FOR_WORKERS}


def env_stamp(path: Path | None) -> tuple[int, int] | None:
    """What changes when the file does, or None while it is not there (an editor is replacing it)."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino) if found is not None else None
