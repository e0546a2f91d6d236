"""The journal of a call: what was said comes back, and nothing that is in the file can do harm."""

import json
import os

import pytest

from mindbot_worker.jobs import call_journal
from mindbot_worker.jobs.call_journal import BadJournal, Journal, read
from mindbot_worker.protocol import heartbeat

ROOM = "r/1"
SAID = [{"id": f"item_{n}", "type": "message", "role": "user", "content": [f"sentence {n}, ä"]} for n in range(3)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls" / heartbeat.journal_name(ROOM, "AJ_1")


def test_what_was_said_comes_back(path):
    Journal(path, ROOM).add(SAID)
    assert read(path, ROOM) == SAID


def test_a_new_agent_goes_on_in_the_same_file(path):
    Journal(path, ROOM).add(SAID[:2])
    Journal(path, ROOM).add(SAID[2:])
    assert read(path, ROOM) == SAID


def test_a_line_torn_by_the_death_of_its_writer_is_left_out_by_all_who_come_later(path):
    Journal(path, ROOM).add(SAID[:2])
    with path.open("ab") as file:
        file.write(b'{"id":"item_9","con')
    assert read(path, ROOM) == SAID[:2]
    Journal(path, ROOM).add(SAID[2:])
    assert read(path, ROOM) == SAID


def test_only_its_owner_can_read_it(path):
    Journal(path, ROOM).add(SAID)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_it_is_gone_with_the_call(path):
    kept = Journal(path, ROOM)
    kept.remove()
    kept.remove()
    assert not path.exists()


def test_a_file_that_somebody_removes_is_written_again_with_all_that_was_said(path):
    kept = Journal(path, ROOM)
    kept.add(SAID[:2])
    path.unlink()
    path.parent.rmdir()
    kept.add(SAID[2:])
    assert read(path, ROOM) == SAID
    kept.remove()
    assert not path.exists()


def test_a_long_talk_is_cut_down_to_its_end(path, monkeypatch):
    monkeypatch.setattr(call_journal, "SIZE_MAX", 20_000)
    monkeypatch.setattr(call_journal, "KEPT", 10)
    kept = Journal(path, ROOM)
    items = [{"id": f"item_{n}", "content": ["x" * 100]} for n in range(1000)]
    for item in items:
        kept.add([item])
    assert path.stat().st_size <= 20_200
    found = read(path, ROOM)
    assert len(found) >= 10
    assert found == items[-len(found) :]


def test_what_is_too_long_to_be_speech_is_not_kept(path):
    Journal(path, ROOM).add([{"id": "huge", "content": ["x" * 300_000]}, *SAID])
    assert read(path, ROOM) == SAID


HEADER = json.dumps({"v": 1, "room": ROOM}).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b'{"v":1', "empty", id="only half a line"),
        pytest.param(b"\x00\xff\xfe\n", "not JSON", id="bytes"),
        pytest.param(HEADER + b"[" * 100_000 + b"\n", "not JSON", id="deeply nested"),
        pytest.param(HEADER + b"null\n", "not a JSON object", id="not an object"),
        pytest.param(b'{"v":2,"room":"r/1"}\n', "no header", id="another version"),
        pytest.param(b'{"v":1,"room":"r/2"}\n', "another room", id="another room's"),
        pytest.param(HEADER + b"{}\n" * 1_000_000, "larger than", id="huge"),
    ],
)
def test_what_is_no_journal_of_this_call_is_refused_in_a_few_words(path, content, why):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(BadJournal, match=why):
        read(path, ROOM)


def make_link(path):
    path.symlink_to("/etc/passwd")


def make_pipe(path):
    os.mkfifo(path)


def make_directory(path):
    path.mkdir()


@pytest.mark.parametrize("make", [make_link, make_pipe, make_directory])
def test_only_a_regular_file_is_opened(path, make):
    path.parent.mkdir()
    make(path)
    with pytest.raises(BadJournal, match="cannot be read"):
        read(path, ROOM)
    with pytest.raises(OSError):
        Journal(path, ROOM)


def test_none_on_this_host_is_said(path):
    with pytest.raises(BadJournal, match="none on this host"):
        read(path, ROOM)


@pytest.mark.parametrize("room", ["../../x", "a/b", "", "\x00", "ä" * 1000, "\ud800"])
def test_no_room_gets_into_a_path(room):
    name = heartbeat.journal_name(room, "AJ_1")
    assert heartbeat.is_journal_name(name)
    assert name != heartbeat.journal_name(room, "AJ_2")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/x", "A" * 32, "g" * 32, "a" * 31, "a" * 33, "٣" * 32])
def test_no_other_name_is_taken_for_a_journals(name):
    assert not heartbeat.is_journal_name(name)
