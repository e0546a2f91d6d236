"""A worker's output as records."""

from mindbot_supervisor.processes.pipes.worker_output import BURST, Output


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
    assert fields == {"process": 7}


def test_what_only_the_supervisor_tells_is_kept_as_a_debug_record():
    assert fed(b'{"event":"call.started","room":"r"}') == [
        ("debug", "worker.log", {"said": "call.started", "room": "r"})
    ]
    assert fed(b'{"event":"worker.failed","level":"error"}')[0][0] == "error"


def test_a_flood_is_counted_and_dropped():
    written = Written()
    output = Output(written)
    output.feed(b"x\n" * 100_000, 0.0)
    assert len(written) == BURST
    output.feed(b"after\n", 10.0)
    assert written[-2:] == [
        ("warning", "output.dropped", {"lines": 100_000 - int(BURST)}),
        ("info", "worker.output", {"text": "after"}),
    ]


def test_a_stack_is_kept_for_its_own_event():
    written = Written()
    output = Output(written)
    output.begin_stack()
    output.feed(b'Current thread 0x1 (most recent call first):\n  File "a.py", line 1 in f\nprinted\n', 0.0)
    assert output.end_stack() == 'Current thread 0x1 (most recent call first):\n  File "a.py", line 1 in f'
    assert written == [("info", "worker.output", {"text": "printed"})]
    assert output.end_stack() is None
