"""The shape of the status, where it depends on what is known."""

from mindbot_supervisor.cli.commands.status import render
from mindbot_supervisor.core.workers.model import Ref, Sample
from mindbot_supervisor.observability.status import View, of_launcher
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


def test_what_the_template_and_the_job_server_take_is_shown_where_it_is_known():
    driver = Driver(policy())
    status = View("1", 1, "local", 0.0).status(driver.pool, driver.now, 0.0)
    described = {"launcher": "template", "template": {"pid": 7, "ready": True}, "jobserver": {"pid": 8}}
    shown = of_launcher(described, {7: Sample(120.04, 90, 200, 0.5)})
    assert shown["template"] == {"pid": 7, "ready": True, "memory_mb": 120.0, "cpu_percent": 0.5}
    assert shown["jobserver"] == {"pid": 8, "memory_mb": None, "cpu_percent": None}
    table = render({**status, "supervisor": {**status["supervisor"], **shown}}).splitlines()
    assert table[2:4] == ["template: pid 7, 120.0 MB, 0.5 % CPU", "job server: pid 8, - MB, - % CPU"]
    assert not any("template" in line for line in render(status).splitlines())
