"""How far each rule is from speaking, against the rules themselves."""

import pytest

from mindbot_supervisor.core.health.rule_margins import margins
from mindbot_supervisor.core.workers.model import Phase, Reason

from .build import call, policy, seen
from .test_rules import CASES, POLICY, mb

TOLD = [case for case in CASES if case[0] is not Reason.LEAK]
"""The leak rule's number is a forecast, and is told as such."""


@pytest.mark.parametrize(("reason", "urgency", "facts", "speaks"), TOLD)
def test_a_rule_speaks_where_its_margin_is_used_up_and_not_before(reason, urgency, facts, speaks):
    found = [each for each in margins(seen(**facts), POLICY) if (each.reason, each.urgency) == (reason, urgency)]
    if speaks:
        assert max(each.share for each in found) >= 1
    else:
        assert all(each.share <= 1 for each in found)


def test_the_nearest_to_its_limit_comes_first():
    found = margins(seen(errors=9, silence=1.0, sample=mb(10)), POLICY)
    assert found[0].reason is Reason.ERRORS
    assert [each.share for each in found] == sorted((each.share for each in found), reverse=True)


def test_rules_that_cannot_speak_on_such_a_worker_are_left_out():
    off = policy(limits={"cpu_percent": 0})
    reasons = {each.reason for each in margins(seen(calls=(call(),)), off)}
    assert reasons == {Reason.HUNG, Reason.BROKEN, Reason.ERRORS, Reason.STORM, Reason.INACTIVE, Reason.UNREGISTERED}
    lingering = {each.reason for each in margins(seen(phase=Phase.DRAINING, sample=mb(1)), POLICY)}
    assert lingering == {Reason.HUNG, Reason.MEMORY}
