"""A new version is believed only by its word about the very state that it was given; and it holds nobody up."""

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mindbot_supervisor.core.workers import snapshot
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.errors import Refused
from mindbot_supervisor.upgrade import new_version_check, state_file
from mindbot_supervisor.upgrade.new_version_check import NewVersion, interpreter_options
from mindbot_supervisor.upgrade.state_file import State
from unit.core.build import Driver, call

ANSWER = """
import hashlib, json, os, socket, subprocess, sys, time
asking = socket.socket(fileno=int(sys.argv[1]))
def take():
    word, fds, _, _ = socket.recv_fds(asking, 256, 1)
    return (word.decode(), os.pread(fds[0], 1 << 26, 0)) if word else sys.exit(0)
def answer(word, data):
    asking.send(json.dumps({"word": word, "state": hashlib.sha256(data).hexdigest()}).encode())
"""
GOOD = "while True: answer(*take())"


def state(**fields) -> State:
    driver = Driver()
    driver.fill()
    driver.beat(Ref(0, 1), calls=(call(1, beat_age=0.5),))
    empty = State(snapshot.take(driver.pool), [], lock=0, control=1, http=None, started=0.0)
    return replace(empty, **fields)


def descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def new(monkeypatch):
    """A new version that is the given program; `new.children` are the pids that it noted."""
    made: list[NewVersion] = []

    def make(program: str) -> NewVersion:
        command = lambda fd: [sys.executable, "-c", ANSWER + program, str(fd)]  # noqa: E731
        monkeypatch.setattr(new_version_check, "probe_command", command)
        made.append(NewVersion(set()))
        return made[-1]

    yield make
    for each in made:
        each.end()


async def test_one_that_answers_with_the_word_and_the_state_is_believed_and_proves_the_final_state(new):
    version = new(GOOD)
    before = descriptors()
    await version.start(state())
    last = state(started=12.5)
    fd = version.prove(last)
    assert state_file.read(fd) == last
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(fd, b"x", 0)
    version.end()
    os.close(fd)
    assert descriptors() == before
    assert version._children == set()


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("sys.exit(0)", "exit code 0"),
        ("os._exit(0)", "exit code 0"),
        ("take(); sys.exit(0)", "exit code 0"),
        ("print('ready'); asking.send(b'ready'); time.sleep(60)", "does not answer as it should"),
        ("take(); asking.send(b'{}'); time.sleep(60)", "does not answer as it should"),
        ("take(); asking.send(b'[' * 60000); time.sleep(60)", "does not answer as it should"),
        ("take(); asking.send(b'\\xff'); time.sleep(60)", "does not answer as it should"),
        ("word, data = take(); answer('another word', data); time.sleep(60)", "does not answer as it should"),
        ("word, data = take(); answer(word, data[:-1]); time.sleep(60)", "does not answer as it should"),
        ("take(); asking.send(json.dumps({'refused': 'no\\x1b[2J room'}).encode())", r"no\x1b[2J room"),
        ("sys.stderr.write('first\\nlast words\\n'); sys.exit(3)", "last words (it ended with exit code 3)"),
        ("os.kill(os.getpid(), 9)", "exit code -9"),
        ("asking.close(); time.sleep(60)", "closed its end"),
    ],
)
async def test_one_that_does_not_is_refused_with_the_reason(new, program, why):
    with pytest.raises(Refused) as refused:
        await new(program).start(state())
    assert why in str(refused.value)
    assert str(refused.value).endswith("the old one goes on")


async def test_one_that_hangs_is_not_waited_for_and_nothing_of_it_stays(new, monkeypatch):
    monkeypatch.setattr(new_version_check, "START_TIMEOUT", 3.0)
    version = new("print(subprocess.Popen(['sleep', '600']).pid, file=sys.stderr, flush=True); time.sleep(600)")
    with pytest.raises(Refused, match="did not show within 3 s"):
        await version.start(state())
    grandchild = int(version._said.split()[0])
    version.end()
    await gone(grandchild)


async def test_one_that_prints_for_ever_takes_no_memory_and_no_more_time(new, monkeypatch):
    monkeypatch.setattr(new_version_check, "START_TIMEOUT", 3.0)
    version = new("while True: os.write(2, b'x' * 65536)")
    with pytest.raises(Refused, match="did not show within 3 s"):
        await version.start(state())
    assert len(version._said) <= new_version_check.TAIL


async def test_one_that_is_ended_while_it_is_asked_ends_the_question_too(new):
    version = new("time.sleep(600)")
    asked = asyncio.create_task(version.start(state()))
    await asyncio.sleep(0.2)
    assert version._children
    version.end()
    with pytest.raises(Refused):
        async with asyncio.timeout(20):
            await asked


async def test_one_that_was_fine_and_hangs_at_the_end_is_refused(new, monkeypatch):
    monkeypatch.setattr(new_version_check, "PROOF_TIMEOUT", 1.0)
    version = new("answer(*take()); time.sleep(600)")
    await version.start(state())
    before = descriptors()
    with pytest.raises(Refused, match="did not show within 1 s"):
        version.prove(state())
    assert descriptors() == before


async def test_one_that_cannot_go_on_with_the_final_state_is_refused(new):
    version = new("answer(*take()); take(); asking.send(json.dumps({'refused': 'no such field'}).encode())")
    await version.start(state())
    with pytest.raises(Refused, match="no such field"):
        version.prove(state())


async def test_a_state_whose_descriptors_are_closed_is_refused(new):
    version = new(GOOD)
    await version.start(state())
    fd = os.open("/dev/null", os.O_RDONLY)
    os.close(fd)
    with pytest.raises(Refused, match=f"descriptor {fd} of the state is not open"):
        version.prove(state(lock=fd))


def test_a_state_that_cannot_be_written_is_refused(monkeypatch):
    monkeypatch.setattr(os, "memfd_create", lambda *_: (_ for _ in ()).throw(OSError(24, "Too many open files")))
    with pytest.raises(Refused, match="cannot be written down"):
        state_file.write(state())


@pytest.mark.parametrize(
    ("argv", "arguments", "options"),
    [
        (["python3", "-m", "mindbot_supervisor", "run", "-m"], 2, []),
        (["python3", "-X", "dev", "-W", "error", "-m", "mindbot_supervisor"], 0, ["-X", "dev", "-W", "error"]),
        (["python3", "-P", "/opt/venv/bin/mindbot-supervisor", "--workers", "4"], 2, ["-P"]),
        (["python3", "/opt/venv/bin/mindbot-supervisor"], 0, []),
        (["python3", "-I", "-mmindbot_supervisor", "run"], 1, ["-I"]),
    ],
)
def test_the_probe_runs_in_a_python_with_the_same_options(argv, arguments, options):
    assert interpreter_options(argv, arguments) == options


async def gone(pid: int) -> None:
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"process {pid} is still there")


# -- the real one ------------------------------------------------------------------------------------------------------


def asked(*files: int, arguments: tuple[str, ...] = ("run", "--command", "sleep 1")) -> list[dict]:
    """What the installed version answers to each of these files."""
    import json
    import socket

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-P", "-m", "mindbot_supervisor.cli.upgrade_probe", str(theirs.fileno()), *arguments]
    with ours, theirs:
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        ours.settimeout(60)
        answers = []
        for number, fd in enumerate(files):
            socket.send_fds(ours, [f"word{number}".encode()], [fd])
            answers.append(json.loads(ours.recv(65536)))
    assert process.wait(10) == 0
    return answers


def test_the_installed_version_reads_a_good_state_and_refuses_every_corrupt_one():
    good = state_file.write(state())
    data = os.pread(good, 1 << 26, 0)
    renamed, later = data.replace(b'"workers"', b'"wreckers"', 1), data.replace(b'"version":2', b'"version":3')
    corrupt = [b"", data[:-1], data[: len(data) // 2], renamed, later, b"\x00" * 64, b"[]"]
    files = [good]
    for each in corrupt:
        files.append(os.memfd_create("corrupt"))
        os.write(files[-1], each)
    answers = asked(*files, good)
    assert answers[0] == {"word": "word0", "state": state_file.digest(good)}
    assert all("state handed over" in answer["refused"] for answer in answers[1:-1]), answers
    assert answers[-1] == {"word": f"word{len(files)}", "state": state_file.digest(good)}, "and it is still there"
    for fd in files:
        os.close(fd)


def test_arguments_that_it_cannot_read_are_its_reason():
    good = state_file.write(state())
    began = time.monotonic()
    (answer,) = asked(good, arguments=("run", "--workers", "none"))
    assert "workers" in answer["refused"] or "ended by itself" in answer["refused"]
    assert time.monotonic() - began < 60
    os.close(good)
