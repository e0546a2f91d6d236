"""A helper that was stopped is found after a while, and only then."""

import os
import signal
import subprocess

import pytest

from mindbot_supervisor.processes.trees.stalled_processes import StoppedHelpers, is_stopped, kill_stopped


@pytest.fixture
def helper():
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def stop(process: subprocess.Popen) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)


def test_it_is_found_when_it_was_stopped_for_long_enough(helper):
    helpers = StoppedHelpers()
    assert helpers.look([helper.pid], 100.0, 3.0) == []
    stop(helper)
    assert helpers.look([helper.pid], 101.0, 3.0) == []
    assert helpers.look([helper.pid], 103.5, 3.0) == []
    assert helpers.look([helper.pid], 104.0, 3.0) == [(helper.pid, 3.0)]


def test_one_that_goes_on_in_time_is_left_alone(helper):
    helpers = StoppedHelpers()
    stop(helper)
    helpers.look([helper.pid], 100.0, 3.0)
    os.kill(helper.pid, signal.SIGCONT)
    while is_stopped(helper.pid):
        pass
    assert helpers.look([helper.pid], 102.0, 3.0) == []
    stop(helper)
    assert helpers.look([helper.pid], 104.0, 3.0) == []
    kill_stopped(os.getpid())  # it runs
    assert helper.poll() is None


def test_what_was_stopped_while_the_supervisor_stood_still_counts_from_then_on(helper):
    helpers = StoppedHelpers()
    stop(helper)
    helpers.look([helper.pid], 100.0, 3.0)
    assert helpers.look([helper.pid], 115.0, 3.0) == []
    assert helpers.look([helper.pid], 117.9, 3.0) == []
    assert helpers.look([helper.pid], 118.0, 3.0) == [(helper.pid, 3.0)]


def test_it_is_killed_only_while_it_is_stopped_and_a_gone_one_is_no_error(helper):
    kill_stopped(helper.pid)
    assert helper.poll() is None
    stop(helper)
    kill_stopped(helper.pid)
    assert helper.wait(10) == -signal.SIGKILL
    kill_stopped(helper.pid)
    assert StoppedHelpers().look([helper.pid], 1.0, 0.0) == []
