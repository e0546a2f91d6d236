"""The shape of the status, where it depends on what is known."""

from mindbot_supervisor.core.model import Ref, Sample
from mindbot_supervisor.ops.view import View
from unit.core.build import Driver, policy


def test_a_leak_is_shown_as_soon_as_its_slope_is_known_and_null_until_then():
    driver = Driver(policy(limits={"memory_soft_mb": 1000, "memory_hard_mb": 2000, "hung_after": 60}))
    driver.fill()
    view = View("1", 1, "local", 0.0)
    for _ in range(3600 // 10):
        size = 100 + driver.now / 60
        driver.do(driver.pool.sample(Ref(0, 1), Sample(size, size, size), driver.now))
        driver.run(10, step=10)
    leaking, well, _ = view.status(driver.pool, driver.now, 0.0)["workers"]
    assert 59 < leaking["leak"]["mb_per_hour"] < 61
    assert 49_000 < leaking["leak"]["limit_in"] < 52_000
    assert well["leak"] is None
