"""Where the agent is found, what is imported before it, and what its folder may replace."""

import os
import sys
from pathlib import Path

import pytest

from mindbot_worker import agent_path
from mindbot_worker.agent_path import AgentPlace


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(agent_path, "_entered", None)
    monkeypatch.delenv(agent_path.FOLDER, raising=False)
    return tmp_path


def write(name: str, text: str = "") -> str:
    path = Path.cwd() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_an_agent_in_the_working_directory_is_found_there(folder):
    file = write("my_agent.py")
    assert agent_path.find("my_agent") == AgentPlace("my_agent", str(folder), file)
    package = write("my_package/__init__.py")
    assert agent_path.find("my_package") == AgentPlace("my_package", str(folder), package)


def test_an_installed_one_is_found_without_the_working_directory(tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("installed")
    (elsewhere / "their_agent.py").write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path, str(elsewhere)])
    assert agent_path.find("their_agent") == AgentPlace("their_agent")
    Path("their_agent").mkdir()
    assert agent_path.find("their_agent") == AgentPlace("their_agent"), "a folder of that name is no package"


def test_what_is_in_neither_is_not_found():
    assert agent_path.find("nobodys_agent") is None


@pytest.mark.parametrize("name", ["mindbot_worker", "livekit", "mindbot_config"])
def test_our_own_packages_are_never_those_of_the_working_directory(name):
    write(f"{name}.py", "raise RuntimeError")
    assert agent_path.find(name) == AgentPlace(name)


def test_a_forked_worker_finds_the_agent_wherever_its_import_has_gone(folder, tmp_path_factory, monkeypatch):
    file = write("my_agent.py")
    agent_path.enter(str(folder))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert agent_path.find("my_agent") == AgentPlace("my_agent", str(folder), file)


def test_a_working_directory_that_was_removed_is_no_error(tmp_path_factory, monkeypatch):
    gone = tmp_path_factory.mktemp("gone")
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert agent_path.find("nobodys_agent") is None


def test_its_folder_goes_first_once(folder, monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "/opt/lib", str(folder), *sys.path])
    agent_path.enter(str(folder))
    assert sys.path[:2] == [str(folder), "/opt/lib"]
    assert sys.path.count(str(folder)) == 1 and "" not in sys.path
    assert os.environ[agent_path.FOLDER] == str(folder)
    with agent_path.without_agent_folder():
        assert str(folder) not in sys.path and "/opt/lib" in sys.path
    assert sys.path[0] == str(folder)


def test_an_installed_agent_brings_no_folder(monkeypatch):
    before = list(sys.path)
    monkeypatch.setenv(agent_path.FOLDER, "/of/another/life")
    agent_path.enter("")
    assert sys.path == before and agent_path.FOLDER not in os.environ
    with agent_path.without_agent_folder():
        assert sys.path == before


def test_the_plugins_that_its_files_name_are_read_off_the_source(folder):
    write("helpers/__init__.py", "from . import voices\n")
    write("helpers/voices.py", "from livekit.plugins import cartesia\nfrom .deep.er import x\n")
    write("helpers/deep/er.py", "from ..ears import y\n")
    write("helpers/ears.py", "import livekit.plugins.gladia as g\n")
    write("tools.py", "import json\ndef late():\n    from livekit.plugins.silero import VAD\n")
    write("unused.py", "from livekit.plugins import hume\n")
    agent = """
        import tools, helpers, livekit.plugins.groq
        from livekit.plugins import (openai, deepgram as ears,
            turn_detector)
        from livekit.agents import Agent
        from somewhere.not_installed import x
        """
    file = write("my_agent.py", "if True:\n" + agent)
    found = agent_path.plugins(AgentPlace("my_agent", str(folder), file))
    named = {f"livekit.plugins.{name}" for name in ("groq", "openai", "deepgram", "turn_detector")}
    named |= {f"livekit.plugins.{name}" for name in ("silero", "cartesia", "gladia")}
    assert set(found) == named
    assert agent_path.plugins(AgentPlace("installed_agent")) == []


@pytest.mark.parametrize("text", ["def (", "\0", "x = '\\ud800'"], ids=["syntax", "NUL", "escape"])
def test_a_file_that_cannot_be_read_names_none(folder, text):
    assert agent_path.plugins(AgentPlace("my_agent", str(folder), write("my_agent.py", text))) == []


def test_a_name_that_a_library_has_already_is_seen(folder):
    file = write("json.py")
    assert agent_path.is_taken(AgentPlace("json", str(folder), file))
    assert not agent_path.is_taken(AgentPlace("my_agent", str(folder), write("my_agent.py")))
    assert not agent_path.is_taken(AgentPlace("json")), "an installed one is what it is"
