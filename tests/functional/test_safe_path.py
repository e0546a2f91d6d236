"""The working directory is searched for the agent and for nothing else, and then its folder goes first."""

import os
import textwrap
from pathlib import Path

import pytest

from functional.daemon import Daemon, stub

START = 120.0
LIVEKIT = {
    "LIVEKIT_URL": "ws://127.0.0.1:9",
    "LIVEKIT_API_KEY": "devkey",
    "LIVEKIT_API_SECRET": "secret" * 6,
    "MINDBOT_WORKER__REGISTERED": "false",
    "MINDBOT_WORKER__SYNTHETIC_INTERVAL": "1",
}
TRAPS = (
    "mindbot_worker",
    "mindbot_config",
    "livekit",
    "aiohttp",
    "anyio",
    "httpx",
    "numpy",
    "openai",
    "onnxruntime",
    "pydantic",
    "pydantic_settings",
    "psutil",
    "uvloop",
    "multiprocessing",
    "asyncio",
)
"""Names that a file in somebody's folder may have by chance, and that our processes import from elsewhere."""
AGENT = """
    import os
    import sys
    from pathlib import Path

    import helper  # beside this file
    from livekit.agents import AgentServer, JobContext
    from livekit.plugins import openai, silero

    def say(where: str) -> None:
        import tabnanny  # as under `python agent.py`, the agent's own goes before the standard library's

        Path(os.environ["MARKS"], where).write_text("\\n".join([sys.path[0], helper.__file__, tabnanny.__file__]))

    say("import")
    server = AgentServer()

    @server.rtc_session()
    async def serve(context: JobContext) -> None:
        say("job")
        context.shutdown()
"""


@pytest.fixture
def traps(tmp_path) -> Path:
    """A folder full of files that must not be imported, with an agent among them."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in TRAPS:
        (folder / f"{name}.py").write_text(f"raise RuntimeError('{name} of the working directory was imported')\n")
    (folder / "tabnanny.py").write_text("")
    (folder / "helper.py").write_text("")
    (folder / "trapped_agent.py").write_text(textwrap.dedent(AGENT))
    return folder


def daemon_in(folder: Path, *arguments: str, **environ: str) -> Daemon:
    """A daemon that was installed, and whose user stands in that folder: Python's own search is no part of this."""
    marks = folder / "marks"
    marks.mkdir()
    return Daemon(folder, *arguments, environ={"MARKS": str(marks), **environ}, flags=("-P",))


def not_caught(daemon: Daemon) -> None:
    assert "of the working directory was imported" not in daemon.tail(len(daemon.records)) + daemon.errors


@pytest.mark.parametrize("launcher", ["template", "exec"])
def test_an_agent_among_files_with_names_of_libraries_serves_as_under_python_agent_py(traps, launcher):
    with daemon_in(
        traps, "--agent", "trapped_agent:server", "--workers", "1", MINDBOT_POOL__LAUNCHER=launcher, **LIVEKIT
    ) as daemon:
        daemon.ready(1, START)
        daemon.until(lambda: (traps / "marks" / "job").exists(), START)
        for where in ("import", "job"):
            first, helper, own = (traps / "marks" / where).read_text().splitlines()
            assert first == str(traps)
            assert (helper, own) == (str(traps / "helper.py"), str(traps / "tabnanny.py"))
        not_caught(daemon)
        assert daemon.terminate(60) == 0


def test_mindbot_and_the_local_stand_ins_import_nothing_from_the_working_directory(traps):
    environ = {"PATH": os.defpath, "MINDBOT_WORKER__SYNTHETIC_INTERVAL": "2"}
    with daemon_in(traps, "--local", "--workers", "1", **environ) as daemon:
        daemon.wait("local.ready", timeout=START)
        daemon.ready(1, START)
        daemon.wait("call.ended", timeout=START)
        not_caught(daemon)
        assert daemon.terminate(60) == 0


def test_a_program_of_the_users_own_is_searched_as_ever(traps):
    """The stub imports our package: `--command` runs what the user says, with what the user's Python does."""
    with daemon_in(traps, "--workers", "1", *stub()) as daemon:
        daemon.ready(1)
        assert daemon.terminate() == 0


def test_an_agent_that_has_the_name_of_a_library_is_refused_with_both_names(tmp_path):
    (tmp_path / "aiohttp.py").write_text("server = None\n")
    with daemon_in(tmp_path, "--agent", "aiohttp:server", "--workers", "1", **LIVEKIT) as daemon:
        assert daemon.end(START) == 78
        assert "'aiohttp'" in daemon.errors and str(tmp_path / "aiohttp.py") in daemon.errors
        assert len(daemon.errors.splitlines()) == 1
