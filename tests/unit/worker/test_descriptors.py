"""A descriptor that was closed: its number belongs to somebody else by then, and is never used again."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mindbot_config.host.descriptors import Descriptor, close_all
from mindbot_worker.jobs.call_journal import Journal
from mindbot_worker.logging.nonblocking_output import Outlet


def somebody_elses(number: int) -> int:
    """A file that was opened since, and got this number."""
    opened = os.open(os.devnull, os.O_RDWR)
    assert opened == number, "the kernel gives the lowest free number"
    return opened


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield Descriptor(reading), Descriptor(writing)


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_closing_twice_leaves_the_next_owner_of_the_number_alone(pipe):
    reading, writing = pipe
    number = reading.fileno()
    reading.close()
    other = somebody_elses(number)
    reading.close()
    assert is_open(other)
    os.close(other)
    writing.close()


@pytest.mark.parametrize(
    "use",
    [Descriptor.fileno, Descriptor.detach, lambda it: it.read(1), lambda it: it.write(b"x")],
    ids=["fileno", "detach", "read", "write"],
)
def test_a_closed_one_cannot_be_used(pipe, use):
    close_all(*pipe)
    for each in pipe:
        assert each.closed
        with pytest.raises(OSError) as raised:
            use(each)
        assert raised.value.errno == errno.EBADF


def test_what_was_handed_on_is_not_closed_here(pipe):
    reading, writing = pipe
    with reading:
        number = reading.detach()
    assert is_open(number) and reading.closed
    os.close(number)
    writing.close()


def test_an_error_of_close_is_no_matter(pipe):
    reading, writing = pipe
    os.close(reading.fileno())
    reading.close()
    writing.close()


def test_a_removed_journal_writes_into_nobody_elses_file(tmp_path):
    journal = Journal(tmp_path / "calls" / "j", "room")
    number = journal._file.fileno()
    journal.remove()
    stranger = tmp_path / "stranger"
    other = os.open(stranger, os.O_RDWR | os.O_CREAT, 0o600)
    assert other == number
    with pytest.raises(OSError):
        journal.add([{"said": "hello"}])
    journal.remove()
    assert is_open(other) and stranger.read_bytes() == b""
    os.close(other)


def test_the_private_descriptor_of_an_outlet_keeps_its_number_whatever_becomes_of_stdout():
    """faulthandler was told that number, and writes to it from a signal handler."""
    (first, first_end), (second, second_end) = os.pipe(), os.pipe()
    stdout = os.dup(first_end)
    os.close(first_end)
    outlet = Outlet(stdout)
    private = outlet.private_fd
    assert private != stdout
    os.dup2(second_end, stdout)
    os.close(second_end)
    outlet.renew()
    assert outlet.private_fd == private
    assert os.read(first, 10) == b"", "nothing of ours holds the other end of the first pipe"
    os.write(private, b"a stack\n")
    assert outlet.write(b"a line\n", 1.0)
    assert os.read(second, 100) == b"a stack\na line\n"
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stdout)
    outlet.renew()
    assert outlet.private_fd == private and outlet.write(b"into nothing\n", 1.0)
    assert os.read(second, 10) == b""
    for each in (first, second, stdout, null, private):
        os.close(each)


CLOSED = """
import os, sys
for number in {numbers}:
    os.close(number)
os.execv(sys.executable, [sys.executable, "-c", {code!r}])
"""
OPENS = """
from mindbot_config.host.standard_descriptors import open_standard
import os, sys
report = int(os.environ["REPORT"])
open_standard()
opened = os.open("/dev/zero", os.O_RDONLY)
print("to stdout", flush=True); print("to stderr", file=sys.stderr, flush=True); sys.stdin.read()
os.write(report, " ".join([str(opened > 2), *(os.readlink(f"/proc/self/fd/{n}") for n in range(3))]).encode())
os.write(report, b" " + str([os.get_inheritable(n) for n in range(3)]).encode())
"""


@pytest.mark.parametrize("numbers", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2), ()], ids=str)
def test_standard_descriptors_that_were_closed_become_dev_null(numbers, tmp_path):
    reading, writing = os.pipe()
    environ = {**os.environ, "REPORT": str(writing)}
    script = CLOSED.format(numbers=numbers, code=OPENS)
    with (tmp_path / "elsewhere").open("w+") as file:
        subprocess.run(
            [sys.executable, "-c", script],
            env=environ,
            pass_fds=[writing],
            stdin=file,
            stdout=file,
            stderr=file,
            timeout=60,
            check=True,
        )
    os.close(writing)
    with os.fdopen(reading) as report:
        beyond, *names = report.read().split(" ", 4)
    assert beyond == "True"
    elsewhere = str(Path(tmp_path / "elsewhere"))
    assert names[:3] == [os.devnull if number in numbers else elsewhere for number in range(3)]
    assert names[3] == "[True, True, True]", "an upgrade's exec must not lose them again"
