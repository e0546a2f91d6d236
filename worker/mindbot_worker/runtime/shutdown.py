"""Takes the request to stop (a signal, or the end of the leash pipe), and defines the exit codes of a worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from mindbot_config.host import resource_shortage
from mindbot_config.host.descriptors import Descriptor

EX_OK = 0
EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
EX_CONFIG = 78


class WorkerFailure(Exception):
    """The worker cannot go on; the message is the one plain line that its user sees."""

    code = EX_SOFTWARE


class ConfigFailure(WorkerFailure):
    """Something the user has to put right: settings, credentials, or the agent itself."""

    code = EX_CONFIG


class ResourceShortage(WorkerFailure):
    """The host was short of something that the worker needs to start, such as memory or descriptors."""

    code = resource_shortage.EXIT_CODE


class Unreachable(WorkerFailure):
    """LiveKit could not be reached, for good."""

    code = EX_UNAVAILABLE


REASON = "the supervisor is gone"


def watch_leash(leash: Descriptor | None, gone: Callable[[str], None]) -> None:
    """Call `gone` when the leash ends, which shows that the supervisor is gone.

    The leash is a pipe whose other end only the supervisor holds. A thread reads it: there is no loop during imports.
    """
    if leash is None:
        return
    os.set_inheritable(leash.fileno(), False)
    os.set_blocking(leash.fileno(), True)
    threading.Thread(target=_read_to_end, args=(leash, gone), name="mindbot-leash", daemon=True).start()


def _read_to_end(leash: Descriptor, gone: Callable[[str], None]) -> None:
    with leash:
        try:
            while leash.read(4096):
                continue
        except OSError:
            return  # not a pipe at all: then nobody holds the other end of it
    gone(REASON)


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopRequest:
    """Notes the first request to stop. Before there is a loop there are no calls: then it ends the process at once."""

    def __init__(self) -> None:
        self.reason = ""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()

    def listen_early(self) -> None:
        """Take the signals while agent and LiveKit are still being imported."""
        for number in SIGNALS:
            signal.signal(number, self._on_early_signal)

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the signals on the running loop from here on."""
        with self._lock:
            self._loop = loop
        for number in SIGNALS:
            loop.add_signal_handler(number, self.request, signal.Signals(number).name)

    def request(self, reason: str) -> None:
        """Ask the worker to stop, from any thread. Only the first request counts."""
        with self._lock:
            if self.reason:
                return
            self.reason = reason
            loop = self._loop
        if loop is None:
            os._exit(EX_OK)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()

    def _on_early_signal(self, number: int, _: FrameType | None) -> None:
        self.request(signal.Signals(number).name)
