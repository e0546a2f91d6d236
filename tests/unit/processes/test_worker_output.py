"""A worker's output as records."""

import re
import time
from pathlib import Path

import pytest

from mindbot_config.output.rate_limit import DEBT_SECONDS, TELL_EVERY
from mindbot_supervisor.core import log_events
from mindbot_supervisor.processes.pipes.worker_output import BURST, LAST_LINES, LINES_AT_ONCE, RATE, Output
from mindbot_worker.protocol import log_messages


class Written(list):
    def __call__(self, level, event, fields):
        self.append((level, event, dict(fields)))


def fed(*lines: bytes, now: float = 0.0) -> Written:
    written = Written()
    Output(written).feed(b"".join(line + b"\n" for line in lines), now)
    return written


def test_a_json_record_keeps_its_event_level_and_fields():
    assert fed(b'{"level":"WARNING","event":"user.speech","room":"r"}') == [("warning", "user.speech", {"room": "r"})]


def test_a_json_record_without_an_event_is_a_log_line():
    assert fed(b'{"message":"hello"}') == [("info", "worker.log", {"message": "hello"})]


def test_stray_text_is_wrapped():
    assert fed(b"\xff not json", b"[1, 2]", b"{broken", b"  ") == [
        ("info", "worker.output", {"text": "\ufffd not json"}),
        ("info", "worker.output", {"text": "[1, 2]"}),
        ("info", "worker.output", {"text": "{broken"}),
    ]


def test_a_worker_cannot_say_who_it_is():
    ((_, _, fields),) = fed(b'{"event":"x.y","worker":"9.9","slot":9,"host":"h","pid":7,"timestamp":"t"}')
    assert fields == {"said": "x.y", "process": 7}


def test_what_only_the_supervisor_tells_is_kept_as_a_debug_record():
    assert fed(b'{"event":"call.started","room":"r"}') == [
        ("debug", "worker.log", {"said": "call.started", "room": "r"})
    ]
    assert fed(b'{"event":"worker.failed","level":"error"}')[0][0] == "error"


@pytest.mark.parametrize(
    "event",
    sorted(
        {value for name, value in vars(log_events).items() if name.isupper() and isinstance(value, str)}
        - log_messages.EVENTS
    ),
)
def test_no_event_of_the_daemon_can_be_told_by_a_worker(event):
    ((level, told, fields),) = fed(b'{"event":"%s","level":"critical","detail":"x"}' % event.encode())
    assert (level, told, fields) == ("critical", "worker.log", {"said": event, "detail": "x"})


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (b'{"event":"booking.made","id":3}', ("info", "worker.log", {"said": "booking.made", "id": 3})),
        (b'{"event":"made a booking","id":3}', ("info", "worker.log", {"message": "made a booking", "id": 3})),
        (b'{"event":["env.changed"]}', ("info", "worker.log", {"message": ["env.changed"]})),
        (b'{"event":{"a":1},"message":"m"}', ("info", "worker.log", {"said": {"a": 1}, "message": "m"})),
        (b'{"event":"env.changed\\n"}', ("info", "worker.log", {"message": "env.changed\n"})),
        (b'{"event":"worker.log","v":NaN}', ("info", "worker.log", {"v": "NaN"})),
        (b'{"event":"call.continued"}', ("info", "call.continued", {})),
    ],
)
def test_whatever_name_a_worker_gives_a_record_it_is_the_workers(line, record):
    assert fed(line) == [record]


def test_every_event_that_our_own_worker_logs_is_known():
    """Read off its source: the constants that are used as events."""
    worker = Path(log_messages.__file__).parents[1]
    sources = [path.read_text() for path in worker.rglob("*.py") if "standins" not in path.parts]
    used = {name for text in sources for name in re.findall(r'"event": (?:\w+\.)?([A-Z_]+)', text)}
    assert len(used) > 25
    for name in used:
        values = set()
        for text in sources:
            for names, given in re.findall(r"^([A-Z_, ]+) = (\".*)$", text, re.MULTILINE):
                pairs = dict(zip(names.split(", "), re.findall(r'"([^"]*)"', given), strict=False))
                values |= {pairs[name]} if log_messages.NAME.fullmatch(pairs.get(name, "")) else set()
        assert values & log_messages.EVENTS or values == {"worker.failed"}, name


class Clock:
    """`later`, by hand."""

    def __init__(self):
        self.waiting = []

    def __call__(self, seconds, function):
        self.waiting.append((seconds, function))

    def ring(self):
        waiting, self.waiting = self.waiting, []
        for _, function in waiting:
            function()


def in_turns(output, data, now=0.0):
    """As a reader gives it: what was not taken is given again. How often that was."""
    turns = 0
    while data:
        data = data[output.feed(data, now) :]
        turns += 1
    return turns


def test_a_flood_is_counted_and_dropped():
    written, clock = Written(), Clock()
    output = Output(written, clock)
    turns = in_turns(output, b"x\n" * 100_000)
    assert len(written) == BURST and turns == BURST / LINES_AT_ONCE + 1
    ((seconds, _),) = clock.waiting
    assert seconds == TELL_EVERY
    clock.ring()
    assert written[-1] == ("warning", "output.dropped", {"lines": 100_000 - int(BURST)})
    in_turns(output, b"after\n", DEBT_SECONDS + 1 / RATE)
    assert written[-1] == ("info", "worker.output", {"text": "after"})
    assert len(written) == BURST + 2 and not clock.waiting


def test_while_a_flood_lasts_nothing_of_it_is_told_but_its_size():
    written, clock = Written(), Clock()
    output = Output(written, clock)
    for tenth in range(600):
        in_turns(output, b"y\n" * 30_000, tenth / 10)
        if tenth % 100 == 99:
            clock.ring()
    assert len(written) == BURST + 6
    assert sum(fields["lines"] for _, event, fields in written if event == "output.dropped") == 600 * 30_000 - BURST


def test_a_flood_costs_next_to_nothing():
    """4 MiB a second are read of it (paced_reader): less than a tenth of a core."""
    output = Output(Written())
    in_turns(output, b"y\n" * 10_000)
    data = b"y\n" * (32 * 1024)
    began = time.process_time()
    for _ in range(64):
        assert output.feed(data, 0.0) == len(data)
    assert time.process_time() - began < 0.1


def test_a_line_of_which_a_part_was_dropped_is_dropped_as_a_whole():
    """What is left of it could begin in the middle of a secret."""
    written = Written()
    output = Output(written)
    in_turns(output, b"x\n" * int(BURST) + b"dropped, its begin")
    assert output.feed(b"ning and its ", 0.0) == 13
    later = DEBT_SECONDS + 1.0
    in_turns(output, b"end\nnext\n", later)
    assert [fields.get("text") for _, _, fields in written[-1:]] == ["next"]


def test_a_worker_that_logs_a_lot_in_bursts_loses_nothing():
    written = Written()
    output = Output(written)
    for second in range(30):
        in_turns(output, b"".join(b"line %d\n" % number for number in range(int(RATE) - 1)), float(second))
    assert len(written) == 30 * (int(RATE) - 1) and all(event != "output.dropped" for _, event, _ in written)


def test_of_the_last_words_the_last_ones_are_kept():
    written = Written()
    output = Output(written)
    output.feed_all(b"".join(b"%d\n" % number for number in range(5000)) + b"end", 0.0)
    output.close(0.0)
    texts = [fields["text"] for _, event, fields in written if event == "worker.output"]
    assert texts == [str(number) for number in range(5000 - LAST_LINES, 5000)] + ["end"]
    assert ("warning", "output.dropped", {"lines": 5000 - LAST_LINES}) in written


def test_a_stack_is_found_in_a_flood():
    output = Output(Written())
    in_turns(output, b"y\n" * 10_000)
    output.begin_stack()
    in_turns(output, b"y\n" * 1000 + b'Current thread 0x1 (most recent call first):\n  File "a.py", line 1\ny\n' * 2)
    assert output.answered == 4
    assert output.end_stack().count('  File "a.py", line 1') == 2


def test_a_stack_is_kept_for_its_own_event():
    written = Written()
    output = Output(written)
    output.begin_stack()
    output.feed(b'Current thread 0x1 (most recent call first):\n  File "a.py", line 1 in f\nprinted\n', 0.0)
    assert output.end_stack() == 'Current thread 0x1 (most recent call first):\n  File "a.py", line 1 in f'
    assert written == [("info", "worker.output", {"text": "printed"})]
    assert output.end_stack() is None
