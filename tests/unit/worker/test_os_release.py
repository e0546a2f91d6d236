"""What LiveKit's native library asks at every join is answered from memory."""

import os
import subprocess

import pytest

from mindbot_worker.livekit_adapter import lsb_release

SAID = "Distributor ID:\tDebian\nRelease:\t12"


@pytest.fixture
def real(tmp_path):
    """A real lsb_release that counts how often it runs."""
    program = tmp_path / "system" / "lsb_release"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho run \"$@\" >> {tmp_path}/runs\nprintf '%s\\n' '{SAID}'\n")
    program.chmod(0o755)
    return program


def run(environ, *options):
    return subprocess.run(["lsb_release", *options], env=environ, capture_output=True, text=True, check=True).stdout


def runs(real):
    return (real.parents[1] / "runs").read_text().splitlines()


def test_it_is_asked_once_and_repeated_word_for_word(real):
    environ = {"PATH": f"{real.parent}:{os.defpath}"}
    lsb_release.remember(environ)
    assert [run(environ, "-a").strip() for _ in range(3)] == [SAID] * 3
    assert runs(real) == ["run -a"]


def test_other_questions_reach_the_real_one(real):
    environ = {"PATH": f"{real.parent}:{os.defpath}"}
    lsb_release.remember(environ)
    assert run(environ, "-s", "-i").strip() == SAID
    assert runs(real) == ["run -a", "run -s -i"]


def test_a_worker_whose_environment_came_anew_asks_nothing_again(real):
    environ = {"PATH": f"{real.parent}:{os.defpath}"}
    lsb_release.remember(environ)
    again = dict(environ)
    lsb_release.remember(again)
    assert again == environ
    again["PATH"] = f"{real.parent}:{os.defpath}"
    lsb_release.remember(again)
    assert again == environ
    assert runs(real) == ["run -a"]


@pytest.mark.parametrize("text", ["exit 1", "true"])
def test_one_that_fails_or_is_silent_is_left_alone(real, text):
    real.write_text(f"#!/bin/sh\n{text}\n")
    environ = {"PATH": f"{real.parent}:{os.defpath}"}
    before = dict(environ)
    lsb_release.remember(environ)
    assert environ == before


def test_nothing_changes_where_there_is_none(tmp_path):
    environ = {"PATH": str(tmp_path)}
    lsb_release.remember(environ)
    assert environ == {"PATH": str(tmp_path)}
