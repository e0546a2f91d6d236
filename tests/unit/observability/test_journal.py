"""The journal on disk: private, bounded, and harmless when the disk is not well."""

import json
import os
import stat
from pathlib import Path

from mindbot_supervisor.observability import flight_journal
from mindbot_supervisor.observability.flight_journal import BEFORE, NOW, Journal, newest_first


def entry(number: int, size: int = 0) -> str:
    return json.dumps({"worker": f"0.{number}", "slot": 0, "fill": "x" * size})


def write(folder: Path, *entries: str, limit: int = flight_journal.FILE_MAX) -> list[str]:
    problems: list[str] = []
    each = Journal(folder, problems.append, limit)
    for line in entries:
        each.put(line)
    each.flush()
    return problems


def names(folder: Path) -> list[str]:
    return [each["worker"] for each in newest_first(folder)]


def test_entries_are_read_newest_first_and_outlive_the_daemon(tmp_path):
    assert write(tmp_path / "a" / "flight", entry(1), entry(2)) == []
    write(tmp_path / "a" / "flight", entry(3))
    assert names(tmp_path / "a" / "flight") == ["0.3", "0.2", "0.1"]


def test_directories_and_files_are_for_their_owner_only(tmp_path):
    old = os.umask(0)
    try:
        write(tmp_path / "state" / "flight", entry(1))
    finally:
        os.umask(old)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state", tmp_path / "state" / "flight")]
    assert modes == [0o700, 0o700]
    assert stat.S_IMODE((tmp_path / "state" / "flight" / NOW).stat().st_mode) == 0o600


def test_the_size_on_disk_is_bounded_and_the_newest_entries_stay(tmp_path):
    write(tmp_path, *(entry(number, 1000) for number in range(50)), limit=10_000)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000
    assert {path.name for path in tmp_path.iterdir()} == {NOW, BEFORE}
    kept = names(tmp_path)
    assert kept[0] == "0.49"
    assert len(kept) >= 10


def test_a_directory_that_cannot_be_written_is_said_once(tmp_path):
    (tmp_path / "file").write_text("")
    problems = write(tmp_path / "file" / "flight", *(entry(number) for number in range(5)))
    assert len(problems) == 1
    assert problems[0].startswith("cannot write ")


def test_a_full_disk_is_said_once_and_writing_goes_on_when_there_is_room_again(tmp_path, monkeypatch):
    (tmp_path / NOW).symlink_to("/dev/full")
    problems: list[str] = []
    each = Journal(tmp_path, problems.append)
    monkeypatch.setattr(os, "O_NOFOLLOW", 0)
    for number in range(3):
        each._write_or_tell(entry(number).encode() + b"\n")
    assert problems == [f"cannot write {tmp_path / NOW}: No space left on device"]
    (tmp_path / NOW).unlink()
    each._write_or_tell(entry(9).encode() + b"\n")
    assert names(tmp_path) == ["0.9"]
    each.flush()


def test_an_entry_that_was_cut_short_damages_no_other(tmp_path):
    write(tmp_path, entry(1))
    with (tmp_path / NOW).open("ab") as file:
        file.write(b'{"worker": "0.2", "fi')
    write(tmp_path, entry(3))
    assert names(tmp_path) == ["0.3", "0.1"]


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path):
    (tmp_path / NOW).symlink_to(tmp_path / "elsewhere")
    assert len(write(tmp_path, entry(1))) == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_rotation_that_cannot_open_the_next_file_closes_nobody_elses(tmp_path, monkeypatch):
    strangers: list[int] = []
    really = os.open

    def no_descriptor_is_left(path, *rest):
        if (tmp_path / BEFORE).exists() and not strangers:
            strangers.append(really(os.devnull, os.O_RDONLY))  # the number of the file that was just closed
            raise OSError(24, "Too many open files")
        return really(path, *rest)

    write(tmp_path, entry(1, 900), limit=1000)
    monkeypatch.setattr(os, "open", no_descriptor_is_left)
    assert any("Too many open files" in problem for problem in write(tmp_path, entry(2, 900), limit=1000))
    os.fstat(strangers[0])
    os.close(strangers[0])
