"""`python -m mindbot_worker.local`: the stand-ins as one process, which says on stdout where they are."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

# The matrices here are small: more threads would only take the cores from the agents under test.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from aiohttp import web

from mindbot_config.standard_descriptors import open_standard
from mindbot_worker.local import app, livekit_server
from mindbot_worker.local.livekit_server import CannotStart, LiveKitServer
from mindbot_worker.local.recogniser import BadPhraseBook, PhraseBook

_UNAVAILABLE, _CONFIG = 69, 78
_SHUTDOWN_SECONDS = 0.5


def main() -> int:
    open_standard()
    arguments = _parser().parse_args()
    try:
        book = PhraseBook.load(arguments.phrases)
        asyncio.run(_serve(arguments, book))
    except BadPhraseBook as exc:
        return _fail(_CONFIG, str(exc))
    except CannotStart as exc:
        return _fail(_UNAVAILABLE, str(exc))
    except OSError as exc:
        return _fail(_UNAVAILABLE, f"cannot listen on {arguments.host}:{arguments.port}: {exc.strerror}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mindbot_worker.local",
        description="Local stand-ins for OpenAI and Deepgram, and a local livekit-server. Ends when stdin is closed.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="the stand-ins' port; 0 is any free one (%(default)s)")
    parser.add_argument("--phrases", type=Path, help="JSON phrase book of what speech recognition knows")
    parser.add_argument("--livekit-server", type=Path, metavar="PATH", help="the livekit-server program to run")
    parser.add_argument("--livekit-port", type=int, default=7880, help="its port, if free; 0 is any (%(default)s)")
    return parser


async def _serve(arguments: argparse.Namespace, book: PhraseBook) -> None:
    end = _end_of_service()
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(_listening(app.build(book), arguments.host, arguments.port))
        server: LiveKitServer | None = None
        if arguments.livekit_server is not None:
            running = livekit_server.running(arguments.livekit_server, arguments.livekit_port)
            server = await stack.enter_async_context(running)
        _announce(f"http://{arguments.host}:{port}", server)
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
