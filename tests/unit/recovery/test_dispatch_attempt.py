"""How often several recoveries at once look at their rooms."""

from mindbot_supervisor.recovery.dispatch_attempt import between_looks


def test_many_look_less_often_each():
    assert between_looks(2) == 0.04
    assert between_looks(4) == 0.08
    assert between_looks(1) == 0.04
