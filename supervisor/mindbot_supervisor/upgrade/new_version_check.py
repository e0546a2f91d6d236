"""Checks before an upgrade that the installed version can take over: a process of it must answer with a fresh secret.

It is asked twice: while the daemon goes on, which takes the seconds of its imports; and in the moment before the exec,
about the very file that is then handed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import MutableSet, Sequence

from mindbot_config.output.printable import printable
from mindbot_supervisor.errors import Refused
from mindbot_supervisor.upgrade import state_file
from mindbot_supervisor.upgrade.state_file import State

START_TIMEOUT = 60.0
"""Seconds for the new version to load and to show that it can take over."""
PROOF_TIMEOUT = 5.0
"""Seconds for the second answer, for which the daemon waits; it takes some ten milliseconds."""
ANSWER_MAX = 64 * 1024
TAIL = 4096
"""Bytes of what it printed last that are kept."""
SHOWN_MAX = 500
"""Characters of them that are told."""


def own_command() -> list[str]:
    """What this program was started with; but the working directory is never searched for modules."""
    return [sys.executable, *_safe_path(), *sys.orig_argv[1:]]


def probe_command(fd: int) -> list[str]:
    """The same Python, with the same options and arguments, for the program that proves a new version."""
    options = interpreter_options(sys.orig_argv, len(sys.argv) - 1)
    return [
        sys.executable,
        *_safe_path(),
        *options,
        "-m",
        "mindbot_supervisor.cli.upgrade_probe",
        str(fd),
        *sys.argv[1:],
    ]


def _safe_path() -> list[str]:
    return [] if sys.flags.safe_path else ["-P"]


def interpreter_options(argv: Sequence[str], arguments: int) -> list[str]:
    """Of a command line of Python with so many arguments, what stands before `-m MODULE` or the script."""
    head = list(argv[1 : len(argv) - arguments])
    return head[:-2] if len(head) >= 2 and head[-2] == "-m" else head[:-1]


class NewVersion:
    """A process of the installed version that is asked whether it can take over, from `start` to `end`."""

    def __init__(self, children: MutableSet[int]) -> None:
        self._children = children
        """Where its pid is noted, so that nobody else reaps it."""
        self._process: subprocess.Popen[bytes] | None = None
        self._asking: socket.socket | None = None
        self._said = b""
        self._ending = False
        self._conversation_lock = threading.Lock()
        """Held during a conversation, which a thread may lead: its descriptors are closed by nobody meanwhile."""

    async def start(self, state: State) -> None:
        """Start the process, and let it read the state. Raises Refused where it cannot."""
        fd = state_file.write(state)
        try:
            self._launch()
            await asyncio.to_thread(self._ask, fd, START_TIMEOUT)
        finally:
            os.close(fd)

    def prove(self, state: State) -> int:
        """Have the process read the final state; the descriptor of the state file. Raises Refused where it cannot."""
        for each in state.fds():
            try:
                os.fstat(each)
            except OSError as exc:
                raise Refused(f"descriptor {each} of the state is not open") from exc
        fd = state_file.write(state)
        try:
            self._ask(fd, PROOF_TIMEOUT)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def end(self) -> None:
        """Kill the process, and whatever it started."""
        process, self._process, self._ending = self._process, None, True
        if process is None:
            return
        if process.returncode is None:  # it is not reaped yet: the pid is still its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        with self._conversation_lock:
            process.wait()
            self._children.discard(process.pid)
            if self._asking is not None:
                self._asking.close()
            if process.stderr is not None:
                process.stderr.close()

    # -- the conversation ----------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    probe_command(theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except OSError as exc:
                ours.close()
                raise Refused(f"the new version cannot start: {exc.strerror}; the old one goes on") from exc
        self._children.add(self._process.pid)
        self._asking = ours

    def _ask(self, fd: int, seconds: float) -> None:
        """Ask about a state file. Raises Refused unless the answer is right."""
        with self._conversation_lock:
            self._ask_with_lock(fd, seconds)

    def _ask_with_lock(self, fd: int, seconds: float) -> None:
        word, until = secrets.token_hex(16), time.monotonic() + seconds
        asking, process = self._asking, self._process
        if asking is None or process is None or process.stderr is None:
            raise Refused("the upgrade was given up")
        try:
            socket.send_fds(asking, [word.encode()], [fd])
            answer = self._answer(asking, process.stderr.fileno(), until)
        except TimeoutError:
            raise Refused(f"the new version did not show within {seconds:.0f} s that it can start") from None
        except OSError:
            answer = b""
        if not answer:
            raise Refused(f"the new version cannot start: {self._last_words()}; the old one goes on")
        told = _told(answer)
        if told != {"word": word, "state": state_file.digest(fd)}:
            why = printable(str(told.get("refused") or "it does not answer as it should")[:SHOWN_MAX])
            raise Refused(f"the new version cannot start: {why}; the old one goes on")

    def _answer(self, asking: socket.socket, errors: int, until: float) -> bytes:
        """The answer; empty if the process has ended. What it prints meanwhile is taken, so that it is never held
        up.
        """
        poll = select.poll()
        poll.register(asking, select.POLLIN)
        poll.register(errors, select.POLLIN)
        while not self._ending:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            ready = dict(poll.poll(min(left, 0.5) * 1000))
            if errors in ready and not self._hear(errors):
                poll.unregister(errors)
            if asking.fileno() in ready:
                return asking.recv(ANSWER_MAX)
        return b""

    def _hear(self, errors: int) -> bool:
        data = os.read(errors, 64 * 1024)
        self._said = (self._said + data)[-TAIL:]
        return bool(data)

    def _last_words(self) -> str:
        """Why the process ended without an answer: the last line that it printed, and its exit code."""
        process = self._process
        if process is None:
            return "it was ended"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        if process.stderr is not None and select.select([process.stderr], [], [], 0)[0]:
            self._hear(process.stderr.fileno())
        lines = self._said.decode(errors="replace").strip().splitlines()
        how = "it closed its end" if process.returncode is None else f"it ended with exit code {process.returncode}"
        return f"{printable(lines[-1][:SHOWN_MAX])} ({how})" if lines else f"{how} and no word"


def _told(answer: bytes) -> dict[str, object]:
    try:
        told = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
