"""Runs the local stand-ins for the providers, and livekit-server, in one child process beside the pool (local mode)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mindbot_config.host.descriptors import Descriptor
from mindbot_supervisor.errors import SupervisorError
from mindbot_supervisor.processes.launching.child_process import watched
from mindbot_supervisor.processes.launching.launch_options import StartProcess
from mindbot_supervisor.processes.pipes.worker_output import Lines

START_TIMEOUT = 60.0
"""Seconds until the services must have said where they listen."""
STOP_TIMEOUT = 10.0
RESTART_PAUSE = 1.0
LINE_MAX = 16 * 1024


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the local services listen."""

    openai: str
    deepgram: str
    livekit_url: str = ""
    livekit_key: str = ""
    livekit_secret: str = ""

    def environ(self) -> dict[str, str]:
        """What a worker needs to reach them."""
        found = {
            "OPENAI_API_KEY": "local",
            "DEEPGRAM_API_KEY": "local",
            "MINDBOT_VOICE__OPENAI_BASE_URL": self.openai,
            "MINDBOT_VOICE__DEEPGRAM_BASE_URL": self.deepgram,
        }
        if self.livekit_url:
            found |= {
                "LIVEKIT_URL": self.livekit_url,
                "LIVEKIT_API_KEY": self.livekit_key,
                "LIVEKIT_API_SECRET": self.livekit_secret,
            }
        return found


@dataclass(slots=True)
class LocalServices:
    """Starts the services, starts them again on the same ports if they die, and ends them."""

    livekit_server: str | None
    environ: Mapping[str, str] = field(repr=False)
    write: Callable[[str, str], None]
    """Takes the level and the text of what the services have to say."""
    pids: set[int]
    """Where the services' pid is noted while they run, so that nobody else reaps it."""
    start_process: StartProcess = subprocess.Popen
    _popen: subprocess.Popen[bytes] | None = None
    _pidfd: Descriptor | None = None
    _port: int = 0
    _livekit_port: int = 0
    _ending: bool = False
    _gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> Addresses:
        """Start the services; where they listen. Raises SupervisorError when they do not come up."""
        try:
            self._launch()
        except OSError as exc:
            raise SupervisorError(f"cannot start the local services: {exc.strerror}") from exc
        popen = self._popen
        if popen is None or popen.stdout is None:
            raise SupervisorError("cannot start the local services")
        try:
            line = await asyncio.wait_for(asyncio.to_thread(popen.stdout.readline), START_TIMEOUT)
            said = json.loads(line)
            livekit = said.get("livekit") or {}
            addresses = Addresses(
                said["openai_base_url"],
                said["deepgram_base_url"],
                livekit.get("url", ""),
                livekit.get("api_key", ""),
                livekit.get("api_secret", ""),
            )
        except (TimeoutError, ValueError, KeyError) as exc:
            await self.close()
            raise SupervisorError("the local services did not start; their last words are in the log") from exc
        self._port = _port(addresses.openai)
        self._livekit_port = _port(addresses.livekit_url) if addresses.livekit_url else 0
        return addresses

    def _launch(self) -> None:
        command = [sys.executable, "-P", "-m", "mindbot_worker.standins", "--port", str(self._port)]
        if self.livekit_server:
            command += ["--livekit-server", self.livekit_server]
            if self._livekit_port:
                command += ["--livekit-port", str(self._livekit_port)]
        popen = self.start_process(
            command,
            env=dict(self.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._pidfd = watched(popen)
        self._popen = popen
        self.pids.add(popen.pid)
        self._gone.clear()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pidfd.fileno(), self._exited)
        if popen.stderr is not None:
            fd = popen.stderr.fileno()
            os.set_blocking(fd, False)
            loop.add_reader(fd, self._read, fd, Lines(LINE_MAX))

    def _read(self, fd: int, lines: Lines) -> None:
        try:
            data = os.read(fd, 64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(fd)
        for line in lines.feed(data):
            self.write("info", line.decode(errors="replace"))

    def _exited(self) -> None:
        popen = self._popen
        if popen is None or popen.poll() is None:
            return
        loop = asyncio.get_running_loop()
        if self._pidfd is not None:
            loop.remove_reader(self._pidfd.fileno())
            self._pidfd.close()
        self.pids.discard(popen.pid)
        self._gone.set()
        if popen.stderr is not None:
            loop.remove_reader(popen.stderr.fileno())
        for stream in (popen.stderr, popen.stdout, popen.stdin):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self._port and not self._ending:
            self.write("error", f"the local services ended with code {popen.returncode}; they are started again")
            loop.call_later(RESTART_PAUSE, self._relaunch)

    def _relaunch(self) -> None:
        if self._ending:
            return
        try:
            self._launch()
        except OSError as exc:
            self.write("error", f"cannot start the local services: {exc.strerror}")
            asyncio.get_running_loop().call_later(RESTART_PAUSE, self._relaunch)

    async def close(self) -> None:
        """End the services: close their standard input, and kill them if that does not end them."""
        self._ending = True
        popen = self._popen
        if popen is None or self._gone.is_set():
            return
        if popen.stdin is not None:
            with contextlib.suppress(OSError):
                popen.stdin.close()  # its leash
        try:
            await asyncio.wait_for(self._gone.wait(), STOP_TIMEOUT)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(popen.pid, signal.SIGKILL)
            await asyncio.to_thread(popen.wait, STOP_TIMEOUT)


def _port(url: str) -> int:
    """The port of `scheme://host:port/…`."""
    return int(url.split("/")[2].rsplit(":", 1)[1])
