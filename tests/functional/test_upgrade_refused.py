"""A new version that cannot take over leaves the old daemon as it is, whatever is wrong with it and however often."""

import os
import shutil
import signal
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import mindbot_supervisor
from functional.daemon import Daemon, stub

WORKER = {"MINDBOT_WORKER__HEARTBEAT": "required"}
INSTALLED = Path(mindbot_supervisor.__file__).parent


class Installation:
    """Where the daemon looks for its code first: empty, until a new version is put there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "new"
        self.folder.mkdir()
        self.package = self.folder / "mindbot_supervisor"

    @property
    def environ(self) -> dict[str, str]:
        return {**WORKER, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}

    def put(self, file: str, *, begin: str = "", replace: tuple[str, str] = ("", "")) -> None:
        """A copy of the installed version, changed in one file."""
        self.remove()
        shutil.copytree(INSTALLED, self.package, ignore=shutil.ignore_patterns("__pycache__"))
        place = self.package / file
        text = place.read_text()
        assert replace[0] in text
        changed = text.replace(*replace) if replace[0] else text
        place.write_text(textwrap.dedent(begin) + changed.replace("from __future__ import annotations\n", ""))

    def remove(self) -> None:
        shutil.rmtree(self.package, ignore_errors=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """One daemon for all that it has to survive, and where its new version is put."""
    folder = tmp_path_factory.mktemp("upgrade")
    new = Installation(folder)
    with Daemon(folder, "--workers", "2", *stub("--calls", "1"), environ=new.environ) as daemon:
        daemon.ready(2)
        yield daemon, new
        assert daemon.client("stop", "--now").returncode == 0
        assert daemon.end() == 0
        assert daemon.left_behind() == []


@pytest.fixture
def daemon(running):
    return running[0]


@pytest.fixture
def new(running):
    installation = running[1]
    yield installation
    installation.remove()


def refused(daemon: Daemon, why: str) -> str:
    before = daemon.status()
    number, upgrades = len(daemon.events("upgrade.refused")), len(daemon.events("supervisor.upgraded"))
    done = daemon.client("upgrade", timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert why in done.stderr
    assert why in daemon.events("upgrade.refused")[number]["detail"]
    after = daemon.status()
    assert after["supervisor"]["pid"] == before["supervisor"]["pid"]
    assert [row["pid"] for row in after["workers"]] == [row["pid"] for row in before["workers"]]
    assert len(daemon.events("supervisor.upgraded")) == upgrades
    return done.stderr


def upgraded(daemon: Daemon) -> None:
    number = len(daemon.events("supervisor.upgraded"))
    done = daemon.client("upgrade", timeout=120)
    assert done.returncode == 0, done.stderr
    daemon.until(lambda: len(daemon.events("supervisor.upgraded")) > number)


BROKEN = {
    "a syntax error": ({"file": "daemon/daemon.py", "begin": "def broken(:\n"}, "SyntaxError"),
    "a syntax error where it is loaded late": (
        {"file": "control/server.py", "begin": "def broken(:\n"},
        "SyntaxError",
    ),
    "a missing module": ({"file": "daemon/engine/engine.py", "begin": "import no_such_module\n"}, "no_such_module"),
    "an import that ends well": ({"file": "__init__.py", "begin": "raise SystemExit(0)\n"}, "exit code 0"),
    "an import that ends well, later": (
        {"file": "daemon/daemon.py", "begin": "raise SystemExit(0)\n"},
        "ended by itself",
    ),
    "an end without a word": ({"file": "daemon/daemon.py", "begin": "import os\nos._exit(0)\n"}, "exit code 0"),
    "a crash": ({"file": "daemon/daemon.py", "begin": "import os\nos.kill(os.getpid(), 11)\n"}, "exit code -11"),
    "another version of the state": (
        {"file": "core/workers/snapshot.py", "replace": ("VERSION = ", "VERSION = 99 + ")},
        "this program reads version",
    ),
    "a state that it does not know": (
        {
            "file": "core/workers/snapshot.py",
            "replace": ("    hurried: bool\n", "    hurried: bool\n    unheard_of: int\n"),
        },
        "does not fit this version",
    ),
    "a state that it cannot go on with": (
        {
            "file": "core/workers/snapshot.py",
            "replace": ("    pool.slots = {", "    raise KeyError('no such slot')\n    pool.slots = {"),
        },
        "no such slot",
    ),
    "garbage and then nothing": (
        {
            "file": "daemon/daemon.py",
            "begin": r"""
            import sys
            for _ in range(300):
                sys.stderr.write("\x1b[2J\u202e" * 9000)
                sys.stdout.write("ready\n" * 9000)
            sys.stderr.write("\n\x1b[31mthe last word\n")
            raise SystemExit(3)
            """,
        },
        "ended by itself with 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_new_version_is_refused_and_says_why_in_one_plain_line(daemon, new, what):
    change, why = BROKEN[what]
    new.put(**change)
    told = refused(daemon, why)
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert not daemon.events("worker.exited")


def test_refusals_one_after_the_other_and_then_a_good_version_in_the_middle_of_a_drain(daemon, new):
    assert daemon.client("drain", "0").returncode == 0
    daemon.wait("worker.draining", worker="0.1")
    before = daemon.worker("0.1")
    new.put("daemon/daemon.py", begin="def broken(:\n")
    refused(daemon, "SyntaxError")
    refused(daemon, "SyntaxError")
    assert daemon.worker("0.1")["phase"] == "draining"
    new.remove()
    upgraded(daemon)
    after = daemon.worker("0.1")
    assert (after["phase"], after["pid"], after["leaving"]) == ("draining", before["pid"], "operator")
    assert daemon.worker("1.1")["phase"] == "ready"
    assert not daemon.events("worker.exited")


def test_it_still_supervises_and_keeps_its_records_after_a_refusal(daemon, new):
    new.put("daemon/daemon.py", begin="def broken(:\n")
    refused(daemon, "SyntaxError")
    os.kill(daemon.worker("1.1")["pid"], signal.SIGKILL)
    daemon.wait("worker.ready", worker="1.2")
    daemon.until(lambda: (daemon.state_dir / "flight" / "flight.jsonl").exists())


def test_refusals_leave_no_process_and_no_descriptor(daemon, new):
    new.put("daemon/daemon.py", begin="def broken(:\n")
    refused(daemon, "SyntaxError")
    own = psutil.Process(daemon.process.pid)
    before, children = own.num_fds(), len(own.children())
    for _ in range(3):
        refused(daemon, "SyntaxError")
    daemon.until(lambda: own.num_fds() <= before)
    assert len(own.children()) == children


def test_a_version_that_prints_a_lot_and_works_is_taken(daemon, new):
    noise = """
    import sys
    for _ in range(300):
        sys.stderr.write("noise " * 9000)
    """
    new.put("cli/upgrade_rehearsal.py", begin=noise)
    upgraded(daemon)


def test_what_lies_in_the_working_directory_is_never_run(tmp_path):
    """`python -m` would search it first: for the daemon, for what it starts, and after an upgrade."""
    trap = 'import pathlib; pathlib.Path("{name}.ran").touch(); raise SystemExit("run by mistake")\n'
    for name in ("mindbot_supervisor", "mindbot_config", "uvloop", "aiohttp", "json", "pydantic"):
        (tmp_path / f"{name}.py").write_text(trap.format(name=name))
    (tmp_path / "mindbot_supervisor.py").unlink()  # under that name Python itself would run it, as it is asked to
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=WORKER) as daemon:
        daemon.ready(1)
        (tmp_path / "mindbot_supervisor.py").write_text(trap.format(name="mindbot_supervisor"))
        for _ in range(2):
            upgraded_by_signal(daemon)
        assert not list(tmp_path.glob("*.ran"))
        (tmp_path / "mindbot_supervisor.py").unlink()
        assert daemon.terminate() == 0


def upgraded_by_signal(daemon: Daemon) -> None:
    number = len(daemon.events("supervisor.upgraded"))
    daemon.process.send_signal(signal.SIGUSR2)
    daemon.until(lambda: len(daemon.events("supervisor.upgraded")) > number, 120)


def test_a_stop_that_comes_while_the_new_version_is_asked_is_not_forgotten(tmp_path):
    new = Installation(tmp_path)
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=new.environ) as daemon:
        daemon.ready(1)
        new.put("daemon/daemon.py", begin="import time; time.sleep(30)\n")
        daemon.process.send_signal(signal.SIGUSR2)
        daemon.until(
            lambda: any("probe" in " ".join(p.cmdline()) for p in psutil.Process(daemon.process.pid).children())
        )
        began = time.monotonic()
        assert daemon.terminate() == 0
        assert time.monotonic() - began < 25, "nobody waits for the new version"
        assert not daemon.events("supervisor.upgraded")
        assert daemon.left_behind() == []
