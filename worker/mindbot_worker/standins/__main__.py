"""`python -m mindbot_worker.standins`: runs the stand-ins in one process, and prints their URLs as JSON.

--host HOST            where to listen (127.0.0.1)
--port PORT            the stand-ins' port; 0 is any free one (0)
--phrases FILE         JSON phrase book of what speech recognition knows
--livekit-server PATH  the livekit-server program to run
--livekit-port PORT    its port, if free; 0 is any (7880)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from mindbot_config.host.standard_descriptors import open_standard
from mindbot_worker import arguments
from mindbot_worker.standins import app, livekit_server
from mindbot_worker.standins.livekit_server import CannotStart, LiveKitServer
from mindbot_worker.standins.recogniser import BadPhraseBook, PhraseBook

# The matrices here are small: more threads would only take the cores from the agents under test.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


FLAGS: Mapping[str, str | int] = {
    "host": "127.0.0.1",
    "port": 0,
    "phrases": "",
    "livekit-server": "",
    "livekit-port": 7880,
}
_UNAVAILABLE, _CONFIG = 69, 78
_SHUTDOWN_SECONDS = 0.5


def main() -> int:
    open_standard()
    given = arguments.read("mindbot_worker.standins", FLAGS, sys.argv[1:])
    try:
        book = PhraseBook.load(Path(given["phrases"]) if given["phrases"] else None)
        asyncio.run(_serve(given, book))
    except BadPhraseBook as exc:
        return _fail(_CONFIG, str(exc))
    except CannotStart as exc:
        return _fail(_UNAVAILABLE, str(exc))
    except OSError as exc:
        return _fail(_UNAVAILABLE, f"cannot listen on {given['host']}:{given['port']}: {exc.strerror}")
    return 0


async def _serve(given: Mapping[str, Any], book: PhraseBook) -> None:
    end = _end_of_service()
    host, server_path = given["host"], given["livekit-server"]
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(_listening(app.build(book), host, given["port"]))
        server: LiveKitServer | None = None
        if server_path:
            running = livekit_server.running(Path(server_path), given["livekit-port"])
            server = await stack.enter_async_context(running)
        _announce(f"http://{host}:{port}", server)
        await end.wait()


def _end_of_service() -> asyncio.Event:
    """Set by SIGTERM, SIGINT, and the end of stdin if that is a pipe or a terminal (under systemd it is /dev/null)."""
    end, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)

    def read_stdin() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            end.set()

    with contextlib.suppress(OSError):
        mode = os.fstat(0).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(0):
            loop.add_reader(0, read_stdin)
    return end


@contextlib.asynccontextmanager
async def _listening(application: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """The port that was bound."""
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _announce(base: str, server: LiveKitServer | None) -> None:
    where = {
        "openai_base_url": f"{base}/v1",
        "deepgram_base_url": f"{base}/v1/listen",
        "livekit": None if server is None else server.as_json(),
        "pid": os.getpid(),
    }
    print(json.dumps(where), flush=True)


def _fail(code: int, message: str) -> int:
    print(message, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
