"""How many heartbeats are read of a worker that sends too many."""

from mindbot_supervisor.processes.pipes.heartbeat_rate_limit import (
    BYTES,
    BYTES_BURST,
    LINES,
    LINES_BURST,
    HeartbeatRateLimit,
)


def lines(many: int, size: int = 10) -> list[bytes]:
    return [b"%0*d" % (size, number) for number in range(many)]


def test_an_ordinary_worker_is_read_line_by_line():
    budget = HeartbeatRateLimit(0.0)
    for second in range(1000):
        assert budget.take([b"beat"], float(second)) == [b"beat"]
    assert not budget.dropped and not budget.exceeded


def test_a_burst_is_read_whole():
    budget, burst = HeartbeatRateLimit(0.0), lines(int(LINES_BURST))
    assert budget.take(burst, 0.0) == burst
    assert not budget.exceeded


def test_of_a_flood_the_first_and_the_newest_are_read_and_the_rest_is_counted():
    budget, flood = HeartbeatRateLimit(0.0), lines(5000)
    assert budget.take(flood, 0.0) == flood[: int(LINES_BURST)]
    assert budget.exceeded
    assert budget.take([], 1.0) == [flood[-1]]
    assert budget.dropped == 5000 - LINES_BURST - 1
    assert not budget.exceeded


def test_the_newest_takes_the_place_of_the_one_that_waits():
    budget = HeartbeatRateLimit(0.0)
    budget.take(lines(int(LINES_BURST)), 0.0)
    assert budget.take([b"old"], 0.0) == []
    assert budget.take([b"new"], 0.0) == []
    assert (budget.dropped, budget.take([], 1.0)) == (1, [b"new"])


def test_in_the_long_run_it_is_so_many_lines_a_second():
    budget, read = HeartbeatRateLimit(0.0), 0
    for tenth in range(1000):
        read += len(budget.take(lines(200), tenth / 10))
    assert LINES * 100 <= read <= LINES * 100 + LINES_BURST


def test_long_lines_are_bounded_by_their_bytes():
    budget, read = HeartbeatRateLimit(0.0), 0
    for tenth in range(1000):
        read += sum(map(len, budget.take(lines(4, 65_000), tenth / 10)))
    assert read <= BYTES * 100 + BYTES_BURST


def test_the_last_word_of_a_worker_is_read_however_much_it_said_before():
    budget = HeartbeatRateLimit(0.0)
    budget.take(lines(5000), 0.0)
    budget.take([b"why it ends"], 0.0)
    assert budget.last() == [b"why it ends"]
    assert budget.last() == []
