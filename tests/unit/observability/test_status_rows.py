"""Every slot has its row: drained, waiting, not yet started; and a leaving worker says until when."""

from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.policy import START_STAGGER
from mindbot_supervisor.core.workers.model import Exit, Ref
from mindbot_supervisor.observability.explain import Explainer
from mindbot_supervisor.observability.flight_recorder import Recorder
from mindbot_supervisor.observability.status import View
from unit.core.build import Driver, call, policy

A = Ref(0, 1)


def status(driver: Driver) -> dict:
    return View("1", 1, "local", 0.0).status(driver.pool, driver.now, 1000.0 + driver.now)


def rows(driver: Driver) -> dict[str, dict]:
    return {row["worker"]: row for row in status(driver)["workers"]}


def explained(driver: Driver, name: str) -> dict:
    flights = Recorder(
        lambda _: None, lambda value: value, lambda: driver.now, lambda: 0.0, transcripts=lambda: False, stamp={}
    )
    for change in driver.changes:
        flights.change(change)
        if change.event == log_events.WORKER_EXITED:
            flights.finish(change.worker)
    return Explainer(driver.pool, flights, driver.now, status(driver)).explain(name)


def drained(by: str = "ops", calls: int = 1) -> Driver:
    driver = Driver(policy(pool={"drain_timeout": 600.0}))
    driver.fill()
    driver.beat(A, calls=tuple(call(n) for n in range(calls)))
    driver.do(driver.pool.drain([0], driver.now, by))
    return driver


def test_a_slot_that_drains_has_the_row_of_its_worker_with_its_deadline():
    driver = drained()
    driver.tick(100.0)
    row = rows(driver)["0.1"]
    assert (row["phase"], row["leaving"], row["deadline_in"]) == ("draining", "operator", 500.0)
    assert row["deadline"].endswith("Z") and row["leaving_since"] < row["deadline"]
    assert row["drained_by"] == "ops"
    assert len(rows(driver)) == 3


def test_a_drained_slot_keeps_a_row_that_says_since_when_and_by_whom():
    driver = drained()
    driver.now += 10
    driver.do(driver.pool.exited(A, Exit(code=0), driver.now))
    driver.run(50)
    row = rows(driver)["0.2"]
    assert (row["phase"], row["slot"], row["pid"], row["drained_by"]) == ("drained", 0, None, "ops")
    assert row["drained_since"] == "1970-01-01T00:16:43.000Z"
    assert row["last_exit"]["verdict"] == "asked"
    assert len(rows(driver)) == 3


def test_a_restart_fills_it_and_forgets_who_drained_it():
    driver = drained()
    driver.do(driver.pool.exited(A, Exit(code=0), driver.now))
    driver.do(driver.pool.restart([0], driver.now))
    driver.run(2)
    row = rows(driver)["0.2"]
    assert (row["phase"], row["drained_since"], row["drained_by"]) == ("ready", None, None)


def test_a_second_drain_does_not_change_since_when():
    driver = drained()
    before = rows(driver)["0.1"]["drained_since"]
    driver.now += 30
    driver.do(driver.pool.drain([0], driver.now, "somebody else"))
    assert (rows(driver)["0.1"]["drained_since"], rows(driver)["0.1"]["drained_by"]) == (before, "ops")


def test_a_slot_that_is_not_started_yet_has_a_row():
    driver = Driver(policy(pool={"workers": 4, "max_starting": 1}))
    driver.tick()
    phases = [row["phase"] for row in status(driver)["workers"]]
    assert phases == ["starting"] * 4
    assert [row["pid"] for row in status(driver)["workers"]][1:] == [None] * 3
    driver.run(START_STAGGER * 4)
    assert [row["phase"] for row in status(driver)["workers"]] == ["ready"] * 4


def test_slots_that_wait_or_are_parked_keep_their_rows():
    driver = Driver(policy(pool={"workers": 2}, restart={"park_after": 3}))
    driver.fill()
    seen = set()
    for _ in range(5):
        ref = next((ref for ref in driver.pool.workers if ref.slot == 0), None)
        if ref is not None:
            driver.do(driver.pool.exited(ref, Exit(code=1), driver.now))
        seen |= {row["phase"] for row in status(driver)["workers"] if row["slot"] == 0}
        assert len(status(driver)["workers"]) == 2
        driver.run(2)
    assert {"backoff", "parked"} <= seen


def test_a_slot_whose_worker_says_that_it_can_never_start_has_a_row_until_the_others_had_their_go():
    driver = Driver(policy(pool={"workers": 2}))
    driver.tick()
    driver.do(driver.pool.exited(A, Exit(code=78), driver.now))
    assert [row["phase"] for row in status(driver)["workers"]] == ["parked", "starting"]


def test_a_pool_that_stops_shows_no_slots_that_are_empty_for_good():
    driver = Driver(policy(pool={"workers": 2}))
    driver.fill()
    driver.do(driver.pool.stop(driver.now))
    driver.do(driver.pool.exited(A, Exit(code=0), driver.now))
    assert list(rows(driver)) == ["1.1"]


def test_explain_of_a_draining_worker_names_its_deadline():
    driver = drained()
    driver.tick(100.0)
    answer = explained(driver, "0")
    assert (answer["worker"], answer["phase"], answer["deadline_in"]) == ("0.1", "draining", 500.0)
    assert answer["next"][0] == {"what": "its 1 calls may go on; killed if one still lasts then", "in": 500.0}


def test_explain_of_a_draining_worker_without_calls_names_the_sooner_one():
    driver = drained(calls=0)
    driver.tick()
    driver.tick(10.0)
    answer = explained(driver, "0.1")
    assert answer["deadline_in"] == driver.pool.policy.pool.stop_timeout - 10.0
    assert "ends by itself" in answer["next"][0]["what"]


def test_explain_of_a_slot_tells_of_the_worker_that_still_drains_beside_the_new_one():
    driver = Driver(policy(pool={"drain_timeout": 600.0}))
    driver.fill()
    driver.beat(A, calls=(call(1),))
    driver.do(driver.pool.restart([0], driver.now))
    driver.run(2)
    driver.beat(A, calls=(call(1),))
    answer = explained(driver, "0")
    assert answer["worker"] == "0.2"
    (beside,) = answer["beside"]
    assert (beside["worker"], beside["phase"], beside["leaving"], beside["calls"]) == (
        "0.1",
        "draining",
        "operator",
        ["r1"],
    )
    assert beside["deadline_in"] > 500
    assert any("worker 0.1 of the same slot" in each["what"] for each in answer["next"])


def test_explain_of_a_drained_slot_tells_by_whom_and_what_fills_it():
    driver = drained()
    driver.do(driver.pool.exited(A, Exit(code=0), driver.now))
    driver.now += 30
    first, second = explained(driver, "0")["next"]
    assert first["what"] == "it was drained by ops 30 s ago"
    assert "restart 0" in second["what"]


def test_calls_tell_who_is_in_them_and_since_when_their_room_is_gone():
    driver = Driver(policy())
    driver.fill()
    driver.beat(A, calls=(call(1, present=True), call(2, present=False, gone=2.0)))
    driver.now += 1
    first, second = rows(driver)["0.1"]["calls"]
    assert (first["present"], first["gone"], first["contested"]) == (True, None, False)
    assert (second["present"], second["gone"]) == (False, 3.0)
    assert status(driver)["calls"]["active"] == 1
    driver.beat(Ref(1, 1), calls=(call(1),))
    assert rows(driver)["1.1"]["calls"][0]["contested"] is True
