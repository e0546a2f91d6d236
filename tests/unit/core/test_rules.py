"""Each rule under, at and over its limit."""

import pytest

from mindbot_supervisor.core.health.memory_trend import Leak
from mindbot_supervisor.core.health.rules import RULES, judge
from mindbot_supervisor.core.workers.model import Phase, Reason, Sample, Urgency

from .build import call, policy, seen

POLICY = policy(
    limits={"memory_soft_mb": 200, "memory_hard_mb": 300, "max_age": 1000, "max_jobs": 50, "cpu_percent": 80}
)
DRAIN, KILL = Urgency.DRAIN, Urgency.KILL


def mb(size: float, cpu: float = 0.0) -> Sample:
    return Sample(pss_mb=size, uss_mb=size, rss_mb=size, cpu_percent=cpu)


def growth(**fields: float | None) -> Leak:
    known = {"mb_per_hour": 60, "limit_in": 1800, "left_mb": 30, "grown_mb": 100, "span": 7200, "points": 24}
    return Leak(**{**known, **fields})


CASES = [
    # reason, urgency, what is seen, whether the rule speaks
    (Reason.HUNG, KILL, {"silence": 9.9}, False),
    (Reason.HUNG, KILL, {"silence": 10.0}, True),
    (Reason.HUNG, KILL, {"silence": 99.0, "beaten": False}, False),
    (Reason.START, KILL, {"silence": 59.9, "beaten": False, "phase": Phase.STARTING}, False),
    (Reason.START, KILL, {"silence": 60.0, "beaten": False, "phase": Phase.STARTING}, True),
    (Reason.START, KILL, {"silence": 179, "beaten": False, "phase": Phase.STARTING, "thread_silence": 1}, False),
    (Reason.START, KILL, {"silence": 180, "beaten": False, "phase": Phase.STARTING, "thread_silence": 1}, True),
    (Reason.BROKEN, DRAIN, {"rejected": 19}, False),
    (Reason.BROKEN, DRAIN, {"rejected": 20}, True),
    (Reason.MEMORY, KILL, {"sample": mb(200)}, False),
    (Reason.MEMORY, DRAIN, {"sample": mb(200.1)}, True),
    (Reason.MEMORY, DRAIN, {"sample": mb(300)}, True),
    (Reason.MEMORY, KILL, {"sample": mb(300.1)}, True),
    (Reason.LEAK, DRAIN, {"leak": growth(limit_in=3600.1)}, False),
    (Reason.LEAK, DRAIN, {"leak": growth(limit_in=3600.0)}, True),
    (Reason.LEAK, DRAIN, {"leak": growth(limit_in=None)}, False),
    (Reason.LEAK, DRAIN, {"leak": growth(grown_mb=89.9)}, False),
    (Reason.LEAK, DRAIN, {"leak": growth(grown_mb=90.0)}, True),
    (Reason.LEAK, DRAIN, {"leak": growth(left_mb=1, grown_mb=19.9)}, False),
    (Reason.LEAK, DRAIN, {"leak": growth(left_mb=1, grown_mb=20.0)}, True),
    (Reason.ERRORS, DRAIN, {"errors": 10}, False),
    (Reason.ERRORS, DRAIN, {"errors": 11}, True),
    (Reason.ERRORS, DRAIN, {"errors": 99, "provider_errors": 88}, True),
    (Reason.STORM, DRAIN, {"jobs_storm": 5}, False),
    (Reason.STORM, DRAIN, {"jobs_storm": 6}, True),
    (Reason.INACTIVE, DRAIN, {"calls": (call(idle=300.0),)}, False),
    (Reason.INACTIVE, DRAIN, {"calls": (call(1, idle=0.0), call(2, idle=300.1))}, True),
    (Reason.INACTIVE, DRAIN, {"calls": (), "age": 1e3}, False),
    (Reason.UNREGISTERED, DRAIN, {"unregistered_for": 89.9}, False),
    (Reason.UNREGISTERED, DRAIN, {"unregistered_for": 90.0}, True),
    (Reason.CPU, DRAIN, {"sample": mb(1, cpu=99), "cpu_over_for": 59.9}, False),
    (Reason.CPU, DRAIN, {"sample": mb(1, cpu=99), "cpu_over_for": 60.0}, True),
    (Reason.CPU, DRAIN, {"sample": mb(1, cpu=99), "cpu_over_for": 60.0, "calls": (call(),)}, False),
    (Reason.LIFETIME, DRAIN, {"age": 999.9}, False),
    (Reason.LIFETIME, DRAIN, {"age": 1000.0}, True),
    (Reason.LIFETIME, DRAIN, {"age": 1000.0, "roll": 1.0}, False),
    (Reason.LIFETIME, DRAIN, {"age": 900.0, "roll": 0.0}, True),
    (Reason.LIFETIME, DRAIN, {"jobs_started": 49}, False),
    (Reason.LIFETIME, DRAIN, {"jobs_started": 50}, True),
]


@pytest.mark.parametrize(("reason", "urgency", "facts", "speaks"), CASES)
def test_a_rule_speaks_over_its_limit_and_not_under_it(reason, urgency, facts, speaks):
    verdict = judge(seen(**{"age": 100.0, **facts}), POLICY)
    if not speaks:
        assert verdict is None or verdict.reason is not reason
        return
    assert verdict is not None
    assert (verdict.reason, verdict.urgency) == (reason, urgency)
    assert verdict.value is not None and verdict.limit is not None, "a verdict carries its evidence"


def test_errors_of_a_provider_are_told_and_blame_nobody():
    assert judge(seen(errors=10, provider_errors=10), POLICY) is None
    for theirs in (89, 99):
        verdict = judge(seen(errors=99, provider_errors=theirs), POLICY)
        assert (verdict.reason, verdict.urgency) == (Reason.ERRORS, Urgency.WARN)


def test_the_cases_cover_every_rule():
    spoken = {rule for rule in RULES for *_, facts, speaks in CASES if speaks and rule(seen(**facts), POLICY)}
    assert spoken == set(RULES)


def test_a_healthy_worker_is_left_alone():
    assert judge(seen(calls=(call(idle=1),), sample=mb(100)), POLICY) is None


@pytest.mark.parametrize("phase", [Phase.DRAINING, Phase.KILLING])
def test_a_worker_on_its_way_out_is_judged_by_hard_rules_only(phase):
    assert judge(seen(phase=phase, errors=99, calls=(call(idle=999),)), POLICY) is None
    assert judge(seen(phase=phase, silence=11), POLICY).reason is Reason.HUNG


@pytest.mark.parametrize(
    ("thread_silence", "words"), [(None, ""), (0.5, "event loop is blocked"), (11.0, "whole process is silent")]
)
def test_a_hung_verdict_tells_a_blocked_loop_from_a_stopped_process(thread_silence, words):
    assert words in judge(seen(silence=11, thread_silence=thread_silence), POLICY).detail


@pytest.mark.parametrize("key", ["max_age", "max_jobs", "cpu_percent"])
def test_a_limit_of_0_is_off(key):
    off = policy(limits={key: 0})
    assert judge(seen(age=1e9, jobs_started=10**6, sample=mb(1, cpu=0)), off) is None


def test_without_a_horizon_nothing_is_called_a_leak():
    leak = growth(limit_in=0.0, left_mb=0.0, grown_mb=1e9)
    assert judge(seen(leak=leak), policy()).reason is Reason.LEAK
    assert judge(seen(leak=leak), policy(limits={"leak_horizon": 0})) is None
