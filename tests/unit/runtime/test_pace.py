"""How often several recoveries at once look at their rooms."""

from mindbot_supervisor.runtime.pace import Pace


def test_many_look_less_often_each():
    pace = Pace()
    with pace.attempt(), pace.attempt():
        assert pace.between_looks(0.04) == 0.04
        with pace.attempt(), pace.attempt():
            assert pace.between_looks(0.04) == 0.08
    assert pace.between_looks(0.04) == 0.04
