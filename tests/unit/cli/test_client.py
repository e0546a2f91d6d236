"""The client's side of the control socket, against small servers of the test."""

from __future__ import annotations

import socket
import threading

import pytest

from mindbot_supervisor import client
from mindbot_supervisor.errors import Refused, SupervisorError, Unavailable


class Server:
    """Answers one request with given bytes, and keeps what was asked."""

    def __init__(self, path, answer: bytes) -> None:
        self.asked = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._answer = answer
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            self.asked = connection.recv(65536)
            connection.sendall(self._answer)

    def close(self) -> None:
        self._thread.join(30)
        self._listener.close()


def ask(tmp_path, answer: bytes, *asked):
    server = Server(tmp_path / "s", answer)
    try:
        return client.ask(tmp_path / "s", *asked), server.asked
    finally:
        server.close()


def answer(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    told = len(body) if length is None else length
    return f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\nContent-LENGTH: {told}\r\n\r\n".encode() + body


def test_a_page_is_asked_for_and_its_json_read(tmp_path):
    found, asked = ask(tmp_path, answer(b'{"a": [1]}'), "GET", "/status")
    assert found == {"a": [1]}
    assert asked == b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n"


def test_fields_are_sent_as_json(tmp_path):
    _, asked = ask(tmp_path, answer(b"{}"), "POST", "/scale", {"workers": 3})
    assert asked.startswith(b"POST /scale HTTP/1.0\r\n")
    assert b"Content-Length: 14\r\n" in asked
    assert asked.endswith(b'\r\n\r\n{"workers": 3}')


def test_a_refusal_is_told_in_the_daemons_words(tmp_path):
    with pytest.raises(Refused, match="no such worker"):
        ask(tmp_path, answer(b'{"error": "no such worker"}', "409 Conflict"), "POST", "/drain", {})


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"", "the connection was closed"),
        (b"hello\r\n", "it is not HTTP"),
        (answer(b'{"a"', length=9), "4 of 9 bytes came"),
        (answer(b"nonsense"), "no usable answer"),
    ],
)
def test_what_is_no_answer_is_said_in_one_line(tmp_path, bad, said):
    with pytest.raises(SupervisorError, match=said):
        ask(tmp_path, bad, "GET", "/status")


def test_no_daemon_is_told_from_one_that_does_not_answer(tmp_path):
    with pytest.raises(Unavailable, match="no daemon is running"):
        client.ask(tmp_path / "none", "GET", "/status")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        with pytest.raises(Unavailable, match="did not answer within 0 s"):
            client.ask(tmp_path / "silent", "GET", "/status", timeout=0.05)
