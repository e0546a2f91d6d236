"""What happens before LiveKit is imported, and that it is not imported sooner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mindbot_config.sections.voice import Voice
from mindbot_config.settings import Settings
from mindbot_worker.runtime import agent_loader, environment
from mindbot_worker.runtime.shutdown import ConfigFailure


def test_the_program_can_be_imported_without_livekit() -> None:
    code = "import sys, mindbot_worker.runtime.main; sys.exit(any(n.split('.')[0] == 'livekit' for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("reference", ["", "agent", "agent:", ":server", "my agent:server", "a..b:server", "a:b:c"])
def test_a_reference_of_the_wrong_form_is_refused_at_once(reference: str) -> None:
    with pytest.raises(ConfigFailure, match="MODULE:ATTR"):
        agent_loader.check_reference(reference)


def test_a_module_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_agent.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    agent_loader.check_reference("my_agent:server")
    with pytest.raises(ConfigFailure, match="cannot find the agent module 'your_agent'"):
        agent_loader.check_reference("your_agent:server")


def test_descriptors_are_taken_out_of_the_environment() -> None:
    reading, writing = os.pipe()
    environ = {"GOOD": str(writing), "FILE": "0", "CLOSED": "987", "TEXT": "three"}
    with Path(os.devnull).open() as null:
        environ["FILE"] = str(null.fileno())
        taken = {name: environment.take_fd(environ, name) for name in ("GOOD", "FILE", "CLOSED", "TEXT", "NONE")}
    good = taken.pop("GOOD")
    assert good is not None and good.fileno() == writing
    assert taken == {"FILE": None, "CLOSED": None, "TEXT": None, "NONE": None} and environ == {}
    os.close(reading)
    good.close()


@pytest.mark.parametrize(
    ("detection", "reference", "preload"),
    [("vad", environment.MINDBOT, "0"), ("model", environment.MINDBOT, None), ("vad", "my_agent:server", None)],
)
def test_the_turn_detectors_weights_are_left_out_where_mindbot_does_not_use_them(
    detection: Any, reference: str, preload: str | None
) -> None:
    environ: dict[str, str] = {}
    environment.prepare(environ, Settings(voice=Voice(turn_detection=detection)), reference)
    assert environ.get(environment.PRELOAD_LOCAL_INFERENCE) == preload


def test_what_the_user_has_set_for_livekit_stays() -> None:
    environ = {environment.LOOP_BLOCK_WARN_MS: "70", environment.PRELOAD_LOCAL_INFERENCE: "1"}
    environment.prepare(environ, Settings(voice=Voice(turn_detection="vad")), environment.MINDBOT)
    assert environ[environment.PRELOAD_LOCAL_INFERENCE] == "1"
    assert environ[environment.LOOP_BLOCK_WARN_MS_IN_CALLS] == "70"


def test_the_loop_monitor_is_off_until_there_is_a_call() -> None:
    environ: dict[str, str] = {}
    environment.prepare(environ, Settings(), environment.MINDBOT)
    assert environ[environment.LOOP_BLOCK_WARN_MS] == "0"
    assert float(environ[environment.LOOP_BLOCK_WARN_MS_IN_CALLS]) > 0


@pytest.mark.parametrize("wanted", [None, "0", "70"])
def test_a_worker_that_was_forked_from_a_prepared_process_is_as_one_that_was_not(wanted: str | None) -> None:
    given = {} if wanted is None else {environment.LOOP_BLOCK_WARN_MS: wanted}
    once = dict(given)
    environment.prepare(once, Settings(), environment.MINDBOT)
    twice = once | given
    environment.prepare(twice, Settings(), environment.MINDBOT)
    assert twice == once


def test_mindbot_needs_its_providers_or_urls_of_ones_own() -> None:
    with pytest.raises(ConfigFailure, match="DEEPGRAM_API_KEY not set"):
        environment.check({"OPENAI_API_KEY": "sk-something"}, Settings(), environment.MINDBOT)
    local = Settings(
        voice=Voice(openai_base_url="http://127.0.0.1:1/v1", deepgram_base_url="http://127.0.0.1:1/v1/listen")
    )
    environment.check({}, local, environment.MINDBOT)
    environment.check({}, Settings(), "my_agent:server")
