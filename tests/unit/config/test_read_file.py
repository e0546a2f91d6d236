"""Whatever stands in a file's place, reading it ends in time: with its contents, or with one plain reason."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindbot_config.errors import ConfigError
from mindbot_config.files import read_file
from mindbot_config.files.read_file import AT_ONE_TIME, LIMIT, bounded, read_regular, read_text, read_toml

LATE = 20.0
"""Seconds by which everything here must have ended, on however busy a machine."""


pytestmark = pytest.mark.timeout(LATE * 3)


def refused(path: str | Path, **how: object) -> str:
    with pytest.raises(OSError) as caught:
        read_regular(path, **how)  # type: ignore[arg-type]
    return str(caught.value.strerror)


def test_a_regular_file_is_read_with_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"abc")
    file.chmod(0o640)
    data, status = read_regular(file)
    assert (data, status.st_mode & 0o777) == (b"abc", 0o640)
    (tmp_path / "link").symlink_to(file)
    assert read_regular(tmp_path / "link").data == b"abc"


def test_a_pipe_without_a_writer_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    assert refused(tmp_path / "f") == "it is a named pipe, not a regular file"
    (tmp_path / "link").symlink_to("f")
    assert refused(tmp_path / "link") == "it is a named pipe, not a regular file"


def test_a_pipe_is_not_even_opened(tmp_path: Path) -> None:
    """Its writer, if there is one, would get through and then be killed by SIGPIPE."""
    os.mkfifo(tmp_path / "f")
    writer = subprocess.Popen(["sh", "-c", f"exec echo secret > {tmp_path / 'f'}"])
    try:
        assert "named pipe" in refused(tmp_path / "f")
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(0.3)
    finally:
        writer.kill()
        writer.wait()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/dev/zero", "it is a device, not a regular file"),
        ("/dev/tty", "it is a device, not a regular file"),
        ("s", "it is a socket, not a regular file"),
        (".", "Is a directory"),
        ("none", "No such file or directory"),
        ("f/under", "Not a directory"),
        ("loop", "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_regular_file_is_refused_with_its_kind(path: str, why: str) -> None:
    Path("f").write_text("")
    Path("loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        assert refused(path) == why


def test_the_null_device_is_an_empty_file() -> None:
    assert read_regular("/dev/null").data == b""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    (tmp_path / "f").chmod(0)
    assert refused(tmp_path / "f") == "Permission denied"


def test_a_file_is_read_up_to_its_limit_and_not_beyond(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 100)
    assert len(read_regular(tmp_path / "f", limit=100).data) == 100
    assert refused(tmp_path / "f", limit=99) == "it is larger than 99 bytes"
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    assert refused(tmp_path / "huge") == f"it is larger than {LIMIT // 2**20} MiB"


def test_a_file_that_says_it_is_empty_is_read_to_its_end() -> None:
    assert read_regular("/proc/self/status").data.startswith(b"Name:")


def test_ours_is_no_link_and_no_file_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "link").symlink_to("f")
    assert read_regular(tmp_path / "f", ours=True).data == b"x"
    assert refused(tmp_path / "link", ours=True) == "it is not a file of ours"
    if os.geteuid() == 0:
        os.chown(tmp_path / "f", 12345, 12345)
    elif Path("/etc/passwd").stat().st_uid != os.geteuid():
        (tmp_path / "f").unlink()
        assert refused("/etc/passwd", ours=True) == "it is not a file of ours"
        return
    assert refused(tmp_path / "f", ours=True) == "it is not a file of ours"


HOLDER = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, lambda *_: None)
fd = os.open(sys.argv[1], os.O_WRONLY)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
if sys.stdin.readline():
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    print("left", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def leased(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A file on which another program has a lease: whoever opens it waits for that program, up to 45 s."""
    file = tmp_path / "f"
    file.write_text("A=1\n")
    pipe = subprocess.PIPE
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(file)], stdin=pipe, stdout=pipe, text=True)
    assert holder.stdin is not None and holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        yield file, holder
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()


def test_a_file_that_another_program_holds_is_given_up(leased: tuple[Path, subprocess.Popen[str]]) -> None:
    assert refused(leased[0], within=0.3) in ("another program holds it", "no answer within 0.3 s")


def test_a_file_that_is_let_go_in_time_is_read(leased: tuple[Path, subprocess.Popen[str]]) -> None:
    file, holder = leased
    letting_go = threading.Timer(0.2, lambda: print(file=holder.stdin, flush=True))
    letting_go.start()
    assert read_regular(file, within=15).data == b"A=1\n"
    letting_go.join()


def test_a_file_system_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead_server = threading.Event()
    really = os.open
    monkeypatch.setattr(read_file.os, "open", lambda path, *more: dead_server.wait() and really(path, *more))
    (tmp_path / "f").write_text("[pool]")
    begun = time.monotonic()
    assert refused(tmp_path / "f", within=0.2) == "no answer within 0.2 s"
    with pytest.raises(ConfigError, match=r"^file .*/f: cannot be read: no answer within 0\.1 s$"):
        read_text(f"file {tmp_path / 'f'}", tmp_path / "f", within=0.1)
    assert time.monotonic() - begun < LATE / 2
    dead_server.set()


def test_the_thread_of_a_hanging_read_keeps_no_process_alive() -> None:
    program = (
        "import threading; from mindbot_config.files.read_file import bounded\n"
        "try: bounded(threading.Event().wait, 0.1)\n"
        "except OSError as exc: print(exc.strerror)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LATE, check=True)
    assert done.stdout == "no answer within 0.1 s\n"


def test_reads_that_hang_do_not_pile_up_without_end() -> None:
    dead_server = threading.Event()
    before = threading.active_count()
    for _ in range(AT_ONE_TIME + 3):
        with pytest.raises(OSError, match="no answer"):
            bounded(dead_server.wait, 0.01)
    assert threading.active_count() - before <= AT_ONE_TIME
    dead_server.set()
    until = time.monotonic() + LATE
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert bounded(lambda: "again", 10) == "again"


def test_bounded_returns_and_raises_what_the_function_does() -> None:
    assert bounded(lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        bounded(lambda: 1 // 0, 5)


def test_a_pipe_that_a_shell_gave_down_is_read_once(tmp_path: Path) -> None:
    """`--config <(command)`: the one pipe that is meant."""
    reading, writing = os.pipe()
    os.write(writing, b"[pool]\nworkers = 6")
    os.close(writing)
    assert read_toml(Path(f"/dev/fd/{reading}")) == {"pool": {"workers": 6}}
    assert refused(f"/dev/fd/{reading}") == "the pipe is empty; it can be read only once"
    os.close(reading)


def test_a_pipe_that_a_shell_gave_down_and_nobody_closes_is_given_up() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"[pool]")
    assert refused(f"/dev/fd/{reading}", within=0.3) in ("it does not come to its end", "no answer within 0.3 s")
    assert not fcntl.fcntl(reading, fcntl.F_GETFL) & os.O_NONBLOCK, "others who have it are not disturbed"
    os.close(reading)
    os.close(writing)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "f").write_bytes(b"x" * 10)
    for path, limit in ((tmp_path / "fifo", 9), (tmp_path / "f", 9), (tmp_path / "f", 99), (tmp_path, 9)):
        try:
            read_regular(path, limit=limit)
        except OSError:
            continue
    still_open = [os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()]
    assert not [path for path in still_open if path.startswith(str(tmp_path))]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_bytes(b"\xef\xbb\xbf[pool]\r\nworkers = 6\r\n")
    assert read_toml(tmp_path / "t.toml") == {"pool": {"workers": 6}}
    (tmp_path / "t.toml").write_bytes("[pool]".encode("utf-16"))
    with pytest.raises(ConfigError, match=r"t\.toml: must be UTF-8 text, and is UTF-16$"):
        read_toml(tmp_path / "t.toml")
