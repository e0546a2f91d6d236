"""Runs a local livekit-server on loopback: starts it again when it dies, and never leaves it behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
NOWHERE = f"{HOST}:9"
"""Nobody listens there: the discard service of RFC 863 is history."""
API_KEY, API_SECRET = "devkey", "secret"  # what `livekit-server --dev` uses


@dataclass(frozen=True, slots=True)
class Ports:
    http: int
    udp: int


def environment(ports: Ports) -> dict[str, str]:
    """The configuration, without what LIVEKIT_… variables meant for agents would change in it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"LIVEKIT_CONFIG": json.dumps(_configuration(ports))}  # JSON is YAML


def _configuration(ports: Ports) -> dict[str, object]:
    """Development mode in which nothing listens or sends outside loopback.

    A node_ip that is given also keeps the server from asking public STUN servers, and NOWHERE its clients, which it
    would tell to. ICE over TCP would listen on every address, and is of no use here.
    """
    return {
        "port": ports.http,
        "bind_addresses": [HOST],
        "development": True,
        "keys": {API_KEY: API_SECRET},
        "logging": {"level": "warn", "json": True},
        "rtc": {
            "udp_port": ports.udp,
            "tcp_port": 0,
            "node_ip": HOST,
            "use_external_ip": False,
            "enable_loopback_candidate": True,
            "stun_servers": [NOWHERE],
            "ips": {"includes": [f"{HOST}/32"]},
        },
    }


def free_ports(http: int) -> Ports:
    """`http` if it is free now, else another port, with a UDP port beside it. Raises OSError if there is none."""
    return Ports(_free(socket.SOCK_STREAM, http), _free(socket.SOCK_DGRAM, 0))


def _free(kind: socket.SocketKind, wanted: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            # As the server will: a port with connections that have just ended is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError:
            probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


_PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None]:
    """A `preexec_fn` that has the kernel kill the child when the thread that started it ends: use the main thread.

    Everything is looked up before the fork. The parent may have died before the child set this: then nobody is
    left to send the signal, and the child sees another parent.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def in_child() -> None:
        if prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(127)

    return in_child


_START_SECONDS = 20.0
_PORT_ATTEMPTS = 5
_PAUSE_FIRST, _PAUSE_MAX, _HEALTHY_SECONDS = 0.2, 10.0, 30.0
_ADDRESS_IN_USE = "address already in use"
# It warns of this three times whenever a participant leaves in good order.
_HANG_UP = "User Initiated Abort"


class CannotStart(Exception):
    """livekit-server did not come up; the message says what it said."""


class LiveKitServer:
    """The server and the task that keeps it running. Its ports stay the same over restarts."""

    def __init__(self, path: Path, ports: Ports) -> None:
        self._path, self.ports = path, ports
        self._last_words: deque[str] = deque(maxlen=5)
        self._process: asyncio.subprocess.Process | None = None
        self._output: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self.ports.http}"

    def as_json(self) -> dict[str, str]:
        return {"url": self.url, "api_key": API_KEY, "api_secret": API_SECRET}

    async def start(self) -> None:
        """Returns once the server answers. Raises CannotStart, with no process left."""
        self._last_words.clear()
        try:
            self._process = await asyncio.create_subprocess_exec(
                str(self._path),
                env=environment(self.ports),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                preexec_fn=die_with_parent(),
            )
        except OSError as exc:
            raise CannotStart(f"cannot run {self._path}: {exc.strerror}") from exc
        self._output = asyncio.create_task(self._forward(self._process))
        try:
            await asyncio.wait_for(self._answers(self._process), _START_SECONDS)
        except TimeoutError:
            await self.stop()
            raise CannotStart(f"livekit-server does not answer after {_START_SECONDS:g} s") from None
        except CannotStart:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Kills it: it keeps nothing, and its own way to stop waits until every participant has left."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._output is not None:
            await self._output

    async def keep_running(self) -> None:
        """Starts it again whenever it dies, after a pause that grows until it has run well for a while."""
        loop, pause = asyncio.get_running_loop(), _PAUSE_FIRST
        while self._process is not None:
            started = loop.time()
            code = await self._process.wait()
            if loop.time() - started > _HEALTHY_SECONDS:
                pause = _PAUSE_FIRST
            _warn(f"livekit-server ended with {code}; it is started again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _PAUSE_MAX)
            try:
                await self.start()
            except CannotStart as exc:
                _warn(str(exc))

    async def _answers(self, process: asyncio.subprocess.Process) -> None:
        while not await _is_ok(self.ports.http):
            if process.returncode is not None:
                raise self._ended(process.returncode)
            await asyncio.sleep(0.03)
        # Had another program answered on this port, ours would have failed to bind it by now.
        await asyncio.sleep(0.05)
        if process.returncode is not None:
            raise self._ended(process.returncode)

    def _ended(self, code: int) -> CannotStart:
        said = "; ".join(self._last_words) or "no message"
        return CannotStart(f"livekit-server ended with {code} as it started: {said}")

    async def _forward(self, process: asyncio.subprocess.Process) -> None:
        """Reads all it prints, or it would block; it prints warnings and errors only."""
        assert process.stdout is not None
        while line := await _line(process.stdout):
            text = _readable(line)
            if _HANG_UP not in text:
                self._last_words.append(text)
                _warn(f"livekit-server: {text}")


@contextlib.asynccontextmanager
async def running(path: Path, port: int) -> AsyncIterator[LiveKitServer]:
    """A server on `port`, or on a free one if that is taken (or 0). Raises CannotStart."""
    server = await _started(path, port)
    keeper = asyncio.create_task(server.keep_running())
    try:
        yield server
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper
        await server.stop()


async def _started(path: Path, port: int) -> LiveKitServer:
    """A port that was free a moment ago may be taken when the server binds it, so that is tried a few times."""
    for attempt in range(_PORT_ATTEMPTS):
        wanted = port if attempt == 0 else 0
        server = LiveKitServer(path, free_ports(wanted))
        try:
            await server.start()
        except CannotStart as exc:
            if _ADDRESS_IN_USE not in str(exc) or attempt == _PORT_ATTEMPTS - 1:
                raise
        else:
            return server
    raise AssertionError("unreachable")


async def _is_ok(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    try:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        return b" 200 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line; of one too long to hold, its beginning is lost."""
    while True:
        try:
            return await stream.readline()
        except ValueError:
            continue


def _readable(line: bytes) -> str:
    """Its JSON log line as a person would write it."""
    text = line.decode(errors="replace").rstrip()
    try:
        record = json.loads(text)
        return " ".join(str(record[key]) for key in ("level", "msg", "error") if record.get(key))
    except (ValueError, AttributeError):
        return text


def _warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
