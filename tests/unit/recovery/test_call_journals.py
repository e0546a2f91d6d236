"""The journals of calls on disk: how many stay, and which are removed."""

import os

import pytest

from mindbot_supervisor.recovery import call_journals
from mindbot_supervisor.recovery.call_journals import KEPT, Journals
from mindbot_worker.jobs.call_journal import Journal
from mindbot_worker.protocol import heartbeat

NOW = 10_000_000.0


def name(number: int) -> str:
    return heartbeat.journal_name("room", f"AJ_{number}")


@pytest.fixture
def kept(tmp_path):
    """Makes journals, the later the younger, one second apart; the last one is of this moment."""

    def make(many: int, size: int = 10) -> Journals:
        for number in range(many):
            path = tmp_path / name(number)
            path.write_bytes(b"x" * size)
            os.utime(path, (NOW - many + number, NOW - many + number))
        return Journals(tmp_path)

    return make


def left(tmp_path) -> set[str]:
    return {path.name for path in tmp_path.iterdir()}


def test_beyond_so_many_the_oldest_are_removed(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(call_journals, "FILES_MAX", 10)
    kept(30).sweep(NOW)
    assert left(tmp_path) == {name(number) for number in range(20, 30)}


def test_beyond_so_many_bytes_the_oldest_are_removed(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(call_journals, "BYTES_MAX", 1000)
    kept(30, size=100).sweep(NOW)
    assert left(tmp_path) == {name(number) for number in range(20, 30)}


def test_one_that_is_being_written_stays_however_old_it_is(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(call_journals, "FILES_MAX", 10)
    folder = kept(30)
    writing = Journal(tmp_path / name(0), "room")
    os.utime(tmp_path / name(0), (1.0, 1.0))
    folder.sweep(NOW)
    assert left(tmp_path) == {name(0), *(name(number) for number in range(20, 30))}
    writing.remove()
    assert name(0) not in left(tmp_path)


def test_what_nobody_wrote_to_for_a_day_is_removed(tmp_path, kept):
    kept(3).sweep(NOW + KEPT - 2)
    assert left(tmp_path) == {name(1), name(2)}


def test_what_is_no_journal_stays(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(call_journals, "FILES_MAX", 0)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ("a" * 32)).mkdir()
    folder = kept(2)
    folder.sweep(NOW)
    assert left(tmp_path) == {"notes.txt", "a" * 32}


@pytest.mark.parametrize("kind", ["nothing", "a pipe", "a link", "another name"])
def test_what_is_no_file_of_ours_is_held_by_nobody(tmp_path, kind):
    path = tmp_path / name(0)
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a link":
        path.symlink_to("/dev/zero")
    asked = "../etc" if kind == "another name" else name(0)
    assert not Journals(tmp_path).is_held(asked)
