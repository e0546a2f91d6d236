"""Sockets that killed workers leave behind: removed, and nothing else is."""

import os
import socket

import pytest

from mindbot_supervisor.processes.pipes import worker_inbox_sockets
from mindbot_worker.protocol import worker_inbox

NAME = worker_inbox.file_name("0.1", 4711)


@pytest.fixture
def listening():
    opened = []

    def listen(path):
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(str(path))
        opened.append(made)
        return made

    yield listen
    for each in opened:
        each.close()


def test_the_socket_of_a_worker_that_has_ended_is_removed(tmp_path, listening):
    listening(tmp_path / NAME).close()
    worker_inbox_sockets.remove(tmp_path, "0.1")
    assert not list(tmp_path.iterdir())
    worker_inbox_sockets.remove(tmp_path, "0.1")


def test_those_that_somebody_listens_on_stay(tmp_path, listening):
    listening(tmp_path / NAME)
    listening(tmp_path / worker_inbox.file_name("0.2", 4712)).close()
    worker_inbox_sockets.remove(tmp_path)
    worker_inbox_sockets.remove(tmp_path, "0.1")
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_whatever_else_has_such_a_name_stays(tmp_path, listening):
    (tmp_path / NAME).write_text("a file")
    os.mkfifo(tmp_path / worker_inbox.file_name("1.1", 5))
    (tmp_path / worker_inbox.file_name("2.1", 6)).mkdir()
    listening(tmp_path / "control.sock").close()
    (tmp_path / worker_inbox.file_name("3.1", 7)).symlink_to(tmp_path / "control.sock")
    before = sorted(tmp_path.iterdir())
    worker_inbox_sockets.remove(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_a_directory_that_is_not_there_is_no_matter(tmp_path):
    worker_inbox_sockets.remove(tmp_path / "none")
