"""Whatever answers at the control socket, or does not, a command ends in time, with one plain line."""

import os
import socket
import time

import pytest

from functional.command_line import assert_one_line, controls, run
from functional.fake_daemon import STATUS, http, pages, saying, serving, silent

COMMANDS = [["status"], ["status", "--json"], ["explain", "0"], ["restart", "all"], ["drain", "0"], ["scale", "2"]]
COMMANDS += [["reload"], ["upgrade"], ["hold"], ["release"], ["stop"], ["stop", "--now"], ["profile", "0", "--cpu"]]

GARBAGE = {
    "no word": b"",
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "binary": bytes(range(256)) * 40,
    "half a head": b"HTTP/1.0 200 OK\r\nContent-Le",
    "an endless head": b"HTTP/1.0 200 OK\r\n" + b"X: y\r\n" * 50_000,
    "half a body": b"HTTP/1.0 200 OK\r\nContent-Length: 900\r\n\r\n{",
    "no json": http(b"hello"),
    "no object": http([1, 2]),
    "null": http(None),
    "deep": http(b"[" * 200_000),
    "no text": http(b'{"a": "\xff\xfe"}'),
    "a long number": http(b'{"a": ' + b"9" * 10_000 + b"}"),
    "a length that is none": b"HTTP/1.0 200 OK\r\nContent-Length: many\r\n\r\n{}",
    "a negative length": b"HTTP/1.0 200 OK\r\nContent-Length: -5\r\n\r\n{}",
    "a huge length": b"HTTP/1.0 200 OK\r\nContent-Length: 99999999999\r\n\r\n{",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
def test_an_answer_that_is_none_is_told_in_one_line(tmp_path, answer):
    with serving(tmp_path / "s.sock", saying(answer)):
        assert_one_line(run(tmp_path, "status"), 69, "no usable answer", "s.sock")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_tells_garbage_in_one_line(tmp_path, command):
    for answer in (GARBAGE["no http"], GARBAGE["half a body"], GARBAGE["no object"], b""):
        with serving(tmp_path / "s.sock", saying(answer)):
            assert_one_line(run(tmp_path, *command), 69, "no usable answer")


ODD = [{}, {"supervisor": None, "workers": None, "calls": None}, {**STATUS, "workers": [1]}, {**STATUS, "workers": 7}]
ODD += [{**STATUS, "supervisor": []}, {"pid": "x", "calls": []}, {"alive": True}, {"alive": False, "worker": "0.1"}]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_answer_of_another_shape_is_told_in_one_line_or_not_needed(tmp_path, command):
    for odd in ODD:
        with serving(tmp_path / "s.sock", saying(http(odd))):
            done = run(tmp_path, *command)
            if done.returncode:
                assert done.returncode in (1, 69, 70), (odd, done)
                assert_one_line(done, done.returncode)
            assert "Traceback" not in done.stderr + done.stdout


def test_a_status_without_most_of_its_fields_is_shown_with_dashes(tmp_path):
    rows = [{"slot": 0, "phase": "drained"}, {"slot": 1, "worker": None, "phase": "parked", "retry_in": None}]
    rows += [{"slot": 2, "worker": "2.1", "phase": "a new phase", "lag_ms": 13.798245257857351, "pid": 7, "uptime": 61}]
    with serving(tmp_path / "s.sock", pages(status={**STATUS, "workers": rows})):
        done = run(tmp_path, "status")
    assert (done.returncode, done.stderr) == (0, "")
    drained, parked, other = done.stdout.splitlines()[-3:]
    assert drained.split()[:3] == ["0", "drained", "-"] and "restart 0" in drained
    assert parked.split()[:3] == ["1", "parked", "-"]
    assert "13.8" in other and "1m01s" in other and "a new phase" in other


def test_numbers_that_are_none_do_not_come_out_as_json(tmp_path):
    body = b'{"a": NaN, "b": 1e999, "c": -Infinity, "d": 1.5, "e": "\\ud800 \x7f"}'
    with serving(tmp_path / "s.sock", saying(http(body))):
        done = run(tmp_path, "status", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '{"a": null, "b": null, "c": null, "d": 1.5, "e": "\\ud800 \\u007f"}\n'


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        ("409 Conflict", {"error": "no such worker"}, 1, "no such worker"),
        ("409 Conflict", {"error": "\x1b[2Jgone\rover\u202e\ud800"}, 1, "\\x1b[2Jgone"),
        ("409 Conflict", b"", 1, "Conflict"),
        ("500 Internal Server Error", b"Server got itself in trouble", 70, "Internal Server Error"),
        ("503 Service Unavailable", {"error": "too many connections"}, 69, "too many connections"),
    ],
)
def test_a_refusal_is_told_in_the_daemons_words_and_safely(tmp_path, status, body, code, said):
    with serving(tmp_path / "s.sock", saying(http(body, status))):
        done = run(tmp_path, "hold")
    assert_one_line(done, code, said)
    assert not controls(done.stderr)


def test_an_endless_answer_is_cut_off(tmp_path):
    def endless(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 2**20)

    with serving(tmp_path / "s.sock", endless):
        assert_one_line(run(tmp_path, "status"), 69, "more than")


def test_one_that_never_answers_is_left_in_time(tmp_path):
    began = time.monotonic()
    with serving(tmp_path / "s.sock", silent):
        assert_one_line(run(tmp_path, "status"), 69, "did not answer within 10 s")
    assert time.monotonic() - began < 60


def test_one_that_answers_a_byte_at_a_time_is_left_in_time(tmp_path):
    def slowly(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(0.2)

    with serving(tmp_path / "s.sock", slowly):
        assert_one_line(run(tmp_path, "status"), 69, "did not answer within 10 s")


def test_one_that_accepts_nobody_is_left_in_time(tmp_path):
    waiting = []
    with socket.socket(socket.AF_UNIX) as full:
        full.bind(str(tmp_path / "s.sock"))
        full.listen(0)
        for _ in range(2):  # its queue takes one more than it says
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            waiting.append(one)
            one.connect_ex(str(tmp_path / "s.sock"))
        assert_one_line(run(tmp_path, "status"), 69, "did not answer within 10 s")
    for one in waiting:
        one.close()


def test_a_daemon_that_dies_while_it_is_followed_is_told(tmp_path):
    def behave(connection: socket.socket, request: bytes) -> None:
        if b"/restart" in request:
            saying(http({"restarting": [0]}))(connection, request)
        elif not said:
            said.append(True)
            rolling = {**STATUS["supervisor"], "rollout": {"done": 0, "total": 2, "active": True}}
            saying(http({**STATUS, "supervisor": rolling}))(connection, request)
        else:
            fake.close()

    said = []
    with serving(tmp_path / "s.sock", behave) as fake:
        done = run(tmp_path, "restart", "all")
    assert_one_line(done, 69)
    assert done.stdout == "0 of 2 replaced\n"


def test_stop_of_a_daemon_that_is_already_gone_says_so(tmp_path):
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    with serving(tmp_path / "s.sock", saying(http({"pid": pid, "calls": 0}))):
        done = run(tmp_path, "stop")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"stopped (pid {pid})\n", "")


@pytest.mark.parametrize("pid", [0, -1, 2**40])
def test_a_pid_that_is_none_is_told_in_one_line(tmp_path, pid):
    with serving(tmp_path / "s.sock", saying(http({"pid": pid, "calls": 0}))):
        done = run(tmp_path, "stop")
    assert_one_line(done, done.returncode)
    assert done.returncode in (69, 70)


@pytest.mark.parametrize("make", ["directory", "file", "fifo", "dangling link"])
def test_what_is_no_socket_is_told_in_one_line(tmp_path, make):
    path = tmp_path / "s.sock"
    match make:
        case "directory":
            path.mkdir()
        case "file":
            path.write_text("")
        case "fifo":
            os.mkfifo(path)
        case _:
            path.symlink_to(tmp_path / "nowhere")
    assert_one_line(run(tmp_path, "status"), 69, "no daemon is running")
