"""A log that cannot be written shows in the status, and the pool goes on; once it can be again, that shows too."""

from functional.daemon import Daemon, stub


def unhealthy(daemon):
    return {each["name"]: each["error"] for each in daemon.status()["supervisor"]["unhealthy"]}


def test_a_log_file_that_cannot_be_written_shows_in_the_status_and_is_no_reason_to_be_unready(tmp_path):
    path = tmp_path / "log" / "x.log"
    path.parent.mkdir()
    with Daemon(tmp_path, "--workers", "1", *stub(), environ={"MINDBOT_LOG__FILE": str(path)}) as daemon:
        daemon.ready(1)
        assert unhealthy(daemon) == {}
        path.unlink()
        path.mkdir()
        assert daemon.client("restart", "0").returncode == 0
        daemon.until(lambda: "Is a directory" in unhealthy(daemon).get("log", ""))
        daemon.wait("log.unwritable")
        daemon.ready(1)
        path.rmdir()
        daemon.until(lambda: unhealthy(daemon) == {})
        assert daemon.client("stop", "--now").returncode == 0
        daemon.end()
        assert "supervisor.stopped" in path.read_text()
