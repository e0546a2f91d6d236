"""Stacks of a whole tree: one process after the other, each under its own heading."""

import asyncio
import os
import signal
import subprocess
import sys

import psutil
import pytest

from mindbot_supervisor.monitoring.process_table import Process
from mindbot_supervisor.processes.pipes.worker_output import Output
from mindbot_supervisor.processes.trees import stack_dump

WRITER = """
import faulthandler, signal, sys, time
faulthandler.register(signal.SIGUSR2, all_threads=True)
def {name}():
    print("up", flush=True)
    time.sleep(60)
{name}()
"""


def process(pid: int) -> Process:
    return Process(psutil.Process(pid), 1, pid, 0)


def start(name: str, fd: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WRITER.format(name=name)], stdout=fd, stderr=fd)


@pytest.fixture
def tree():
    """Two processes that serve SIGUSR2, the second one stopped, and one that does not; and what they write."""
    reader, writer = os.pipe()
    processes = [start(name, writer) for name in ("first", "second")]
    processes.append(subprocess.Popen(["sleep", "60"]))
    heard = b""
    while heard.count(b"up") < 2:  # an unbuffered Python writes the end of the line by itself
        heard += os.read(reader, 4096)
    os.kill(processes[1].pid, signal.SIGSTOP)
    os.waitpid(processes[1].pid, os.WUNTRACED)
    os.set_blocking(reader, False)
    yield reader, processes
    for process in processes:
        process.kill()
        process.wait()
    os.close(reader)
    os.close(writer)


async def test_each_process_answers_under_its_own_heading_and_none_is_harmed(tree):
    reader, (first, second, silent) = tree
    output = Output(lambda *_: None)
    asyncio.get_running_loop().add_reader(reader, lambda: output.feed(os.read(reader, 65536), 0.0))
    output.begin_stack()
    await stack_dump.ask([process(each.pid) for each in (second, silent, first)], first.pid, output)
    asyncio.get_running_loop().remove_reader(reader)
    before, after = output.end_stack().split(f"-- process {second.pid} ")
    assert before.startswith(f"-- process {first.pid} ")
    assert "in first" in before
    assert "state T" in after
    assert f"-- process {silent.pid} (sleep)" in after
    assert silent.poll() is None, "a process that does not handle the signal is not asked"


async def test_nothing_is_asked_once_the_stacks_were_told():
    output = Output(lambda *_: None)
    await stack_dump.ask([process(os.getpid())], os.getpid(), output)
    assert output.end_stack() is None
