"""The cause of an end, from what is known of it."""

import pytest

from mindbot_supervisor.core.health.exit_cause import cause, describe, fields
from mindbot_supervisor.core.workers.model import Death, Exit, Phase
from mindbot_worker.protocol.heartbeat import Failure

from .build import worker

KILL = 9


@pytest.mark.parametrize(
    ("of", "ended", "death"),
    [
        (worker(), Exit(code=0), Death.CRASHED),
        (worker(), Exit(code=3), Death.CRASHED),
        (worker(), Exit(signal=11), Death.SIGNAL),
        (worker(), Exit(signal=KILL), Death.SIGNAL),
        (worker(), Exit(signal=KILL, oom=True), Death.OOM),
        (worker(), Exit(signal=KILL, detail="perhaps the kernel"), Death.SIGNAL),
        (worker(Phase.DRAINING), Exit(code=0), Death.ASKED),
        (worker(Phase.DRAINING), Exit(signal=15), Death.ASKED),
        (worker(Phase.DRAINING), Exit(signal=KILL, oom=True), Death.OOM),
        (worker(Phase.KILLING, killed=True), Exit(signal=KILL), Death.KILLED),
        (worker(Phase.KILLING, killed=True), Exit(signal=KILL, oom=True), Death.KILLED),
        (worker(Phase.KILLING), Exit(signal=KILL, oom=True), Death.OOM),
    ],
)
def test_an_end_is_told_by_what_is_known_of_it(of, ended, death):
    assert cause(of, ended) is death


def test_what_the_kernel_says_is_told_unless_the_worker_said_why_itself():
    last = describe(worker(), Exit(signal=KILL, oom=True), 10.0, 0)
    assert fields(last, worker(), None, "oom_kill went up")["detail"] == "oom_kill went up"
    assert fields(last, worker(), Failure(78, "no module"), "oom_kill went up")["detail"] == "no module"
    assert "detail" not in fields(last, worker(), None)
