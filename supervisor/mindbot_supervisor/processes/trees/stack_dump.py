"""Asks a worker's processes for their stacks before it is killed: one after the other, so that lines never mix."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Sequence

import psutil

from mindbot_config.host import cgroups
from mindbot_supervisor.monitoring.process_table import Process
from mindbot_supervisor.processes.pipes.worker_output import Output
from mindbot_supervisor.processes.trees.kill_process_tree import signal_one

ALL = 0.8
"""Seconds for all processes together: less than the core's STACK_GRACE, after which they are killed."""
ANSWER = 0.25
"""Seconds for one process to begin to answer; a healthy one takes 1 to 5 ms."""
PAUSE = 0.03
"""Seconds without a further line: the answer is complete."""
LOOK = 0.005
STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
"""States of a process that a signal does not wake: stopped, or under a debugger."""
LETTERS = {
    psutil.STATUS_RUNNING: "R",
    psutil.STATUS_SLEEPING: "S",
    psutil.STATUS_DISK_SLEEP: "D",
    psutil.STATUS_STOPPED: "T",
    psutil.STATUS_TRACING_STOP: "t",
    psutil.STATUS_ZOMBIE: "Z",
    psutil.STATUS_IDLE: "I",
}
"""The kernel's letters, as ps shows them."""


async def ask(tree: Sequence[Process], root: int, output: Output) -> None:
    """SIGUSR2 to every process that handles it (faulthandler answers on stderr), the worker itself first.

    What the kernel says of each one stands before its stack, also for those that cannot answer.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + ALL
    for each in sorted(tree, key=lambda each: (each.pid != root, each.pid)):
        if not output.dumping:
            return  # killed meanwhile
        try:
            status, name = each.handle.status(), each.handle.name()
        except psutil.Error:
            continue
        output.mark(heading(each.pid, name, status))
        if status in STOPPED or not catches(each.pid, signal.SIGUSR2):
            continue
        before = output.answered
        if signal_one(each, signal.SIGUSR2) and loop.time() < until:
            await _answered(output, before, until)


async def _answered(output: Output, before: int, until: float) -> None:
    loop = asyncio.get_running_loop()
    began = quiet_since = loop.time()
    seen = before
    while loop.time() < until:
        await asyncio.sleep(LOOK)
        if output.answered != seen:
            seen, quiet_since = output.answered, loop.time()
        patience = PAUSE if seen != before else ANSWER
        if loop.time() - max(quiet_since, began) >= patience:
            return


_SECTION = re.compile(r"^(Current thread 0x|Thread 0x|Stack \(most recent call first\))")
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.*)$')
_LIBRARY = re.compile(r"/(site|dist)-packages/|/lib(64)?/python3\.\d+/|^<")
MAIN_FRAMES = 40
"""Frames of a main thread that are kept."""


def main_thread(stack: str) -> tuple[str, str]:
    """Of faulthandler's answer the main thread, and where it is: the innermost line of code that is in no library."""
    sections: list[list[str]] = []
    for line in stack.splitlines():
        if _SECTION.match(line):
            sections.append([line])
        elif sections:
            sections[-1].append(line)
    if not sections:
        return "", ""
    # the main thread serves the signal; where it could not, it is the oldest, which comes last
    main = next((each for each in sections if each[0].startswith("Current")), sections[-1])
    frames = [frame for line in main if (frame := _FRAME.match(line))]
    own = next((frame for frame in frames if not _LIBRARY.search(frame["file"])), frames[0] if frames else None)
    where = f"{own['file']}:{own['line']} in {own['function']}" if own is not None else ""
    return "\n".join(main[: MAIN_FRAMES + 1]), where


def heading(pid: int, name: str, status: str) -> str:
    """Name and state of a process, and where in the kernel it waits."""
    waits = (cgroups.read(f"/proc/{pid}/wchan") or b"").decode(errors="replace").strip()
    where = f", waits in {waits}" if waits not in ("", "0") else ""
    return f"-- process {pid} ({name}), state {LETTERS.get(status, status)}{where}"


def catches(pid: int, number: int) -> bool:
    """Whether the process handles this signal itself. An unhandled SIGUSR2 would end it."""
    caught = cgroups.word_after(cgroups.read(f"/proc/{pid}/status") or b"", b"SigCgt:")
    return bool(int(caught, 16) >> (number - 1) & 1) if caught is not None else False
