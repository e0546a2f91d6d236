"""Small files of the kernel."""

import pytest

from mindbot_supervisor.runtime import procfile

TEXT = b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\nPss:      1234 kB\nlast"


@pytest.mark.parametrize(
    ("label", "number"),
    [(b"oom_kill ", 3), (b"oom_kill_disable ", 0), (b"Pss:", 1234), (b"kill ", None), (b"last", None), (b"none", None)],
)
def test_the_number_after_a_label(label, number):
    assert procfile.number_after(TEXT, label) == number


def test_a_file_is_read_to_its_end_and_a_missing_one_is_none(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 3 * procfile.SIZE)
    assert procfile.read(tmp_path / "file") == b"x" * 3 * procfile.SIZE
    assert procfile.read(tmp_path / "missing") is None
    assert procfile.read(tmp_path) is None
    assert b"oom_kill" in procfile.read("/proc/vmstat")
