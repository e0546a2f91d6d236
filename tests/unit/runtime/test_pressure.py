"""How the host is, read off /proc."""

from mindbot_supervisor.core.pressure import Host
from mindbot_supervisor.runtime.pressure import look


def test_stalls_and_memory_are_read(tmp_path):
    (tmp_path / "cpu").write_text("some avg10=81.50 avg60=1.00 avg300=0.00 total=1\n")
    (tmp_path / "memory").write_text(
        "some avg10=9.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=4.25 avg60=0.00 avg300=0.00 total=1\n"
    )
    (tmp_path / "meminfo").write_text("MemTotal:  2097152 kB\nMemFree: 1 kB\nMemAvailable:  524288 kB\n")
    assert look(tmp_path, tmp_path / "meminfo") == Host(81.5, 4.25, None, 512.0, 2048.0)


def test_what_the_kernel_does_not_tell_is_none(tmp_path):
    (tmp_path / "cpu").write_text("nonsense\n\n")
    assert look(tmp_path, tmp_path / "missing") == Host()


def test_this_host_answers():
    assert look().total_mb > 64
