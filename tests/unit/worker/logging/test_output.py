"""The log: one JSON object a line, without secrets, and never waiting for its reader."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import logging
import os
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from mindbot_config.output import log_chain, log_records
from mindbot_config.output.log_records import through_logging
from mindbot_config.output.redaction import MASK, Redactor
from mindbot_worker.logging import json_lines, setup
from mindbot_worker.logging.json_lines import WORKER_LOG, Lines, summarise
from mindbot_worker.logging.log_queue import LogQueue, UnqueuedLog
from mindbot_worker.logging.nonblocking_output import Outlet

SECRET = 'sk-"quoted"\\and\té'


def record(message: str, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("an.agent", level, "agent.py", 1, message, None, None)
    vars(made).update(extra)
    return made


def line(made: logging.LogRecord, *, tracebacks: bool = False, secrets: tuple[str, ...] = ()) -> dict[str, Any]:
    text = Lines({"worker": "0.1"}, Redactor(secrets), tracebacks=tracebacks).of(made)
    assert text.endswith(b"\n") and text.count(b"\n") == 1
    fields: dict[str, Any] = json.loads(text)
    return fields


def test_a_line_has_what_the_contract_asks_for() -> None:
    fields = line(record("two\nlines", event="user.speech", job_id="AJ_1", room="r", characters=3))
    assert fields["timestamp"].endswith("Z") and len(fields["timestamp"]) == len("2026-01-01T00:00:00.000Z")
    assert list(fields)[:3] == ["timestamp", "level", "event"]
    expected = {"level": "info", "event": "user.speech", "message": "two\nlines", "logger": "an.agent"}
    expected |= {"worker": "0.1", "job": "AJ_1", "room": "r"}
    assert fields.items() >= expected.items() and fields["characters"] == 3
    assert line(record("x"))["event"] == WORKER_LOG


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ({"a": {1, 2}}, {"a": [1, 2]}),
        (ValueError("no"), "ValueError: no"),
        (b"bytes", "b'bytes'"),
        (None, None),
        ("\ud800", "\ud800"),
    ],
)
def test_any_extra_can_be_written(value: object, written: object) -> None:
    assert line(record("x", extra=value)).get("extra") == written


def test_what_cannot_even_be_turned_into_text_is_named() -> None:
    class Shy:
        def __str__(self) -> str:
            raise RuntimeError

    assert line(record("x", extra=Shy()))["extra"] == "<Shy>"


def test_a_record_whose_arguments_do_not_fit_is_still_a_line() -> None:
    made = record("%d calls")
    made.args = ("three",)
    assert "cannot write a log record" in line(made)["message"]


def test_extras_cannot_take_the_place_of_our_own_fields() -> None:
    made = record("x", timestamp=0, error="e")
    vars(made)["level"] = "mine"
    fields = line(made)
    assert (fields["level"], fields["level_"], fields["error"]) == ("info", "mine", "e")


def test_what_was_spoken_is_in_no_line_of_livekits_own() -> None:
    silent = ValueError('no audio frames were pushed for text: Tell "nobody" this')
    made = record("skipping user input", **{"lk.pii.user_input": "nor this", "room": "r"})
    made.exc_info = (ValueError, silent, None)
    made.levelno = logging.ERROR
    fields = line(made, tracebacks=True)
    assert fields["room"] == "r" and fields["error"].startswith("ValueError: no audio frames")
    assert "nobody" not in json.dumps(fields) and "nor this" not in json.dumps(fields)


def test_a_traceback_is_a_field_and_only_where_it_is_wanted() -> None:
    try:
        {}["speech"]
    except KeyError as exc:
        info = (type(exc), exc, exc.__traceback__)
    warning, error = record("x", logging.WARNING), record("x", logging.ERROR)
    warning.exc_info = error.exc_info = info
    assert line(warning)["error"].startswith("KeyError: 'speech' (") and "traceback" not in line(warning)
    assert "Traceback" in line(warning, tracebacks=True)["traceback"] and "Traceback" in line(error)["traceback"]


def test_a_record_from_a_job_process_has_its_traceback_cut_out_of_the_message() -> None:
    made = record("it broke\nTraceback (most recent call last):\n  …\nValueError: no", logging.ERROR)
    made.exc_text = "Traceback (most recent call last):\n  …\nValueError: no"
    fields = line(made)
    assert (fields["message"], fields["error"]) == ("it broke", "ValueError: no")


def test_an_exception_is_summed_up_with_its_place() -> None:
    try:
        compile("def broken(:", "agent.py", "exec")
    except SyntaxError as exc:
        assert summarise(exc).endswith("(agent.py:1)")
    assert summarise(ValueError("a\n  b")) == "ValueError: a b"
    assert summarise(TimeoutError()) == "TimeoutError"


@pytest.mark.parametrize("where", ["message", "extra", "nested"])
def test_secrets_are_masked_wherever_they_are_and_however_json_writes_them(where: str) -> None:
    records = {"message": record(f"key {SECRET}"), "extra": record("x", k=SECRET), "nested": record("x", k=[SECRET])}
    made = records[where]
    text = json.dumps(line(made, secrets=(SECRET,)), ensure_ascii=False)
    assert MASK in text and "quoted" not in text


def test_a_longer_secret_is_masked_whole_and_a_tiny_one_not_at_all() -> None:
    assert Redactor(["ab-d", "ab-defgh"])("ab-defgh ab-d") == f"{MASK} {MASK}"
    assert Redactor(["e"])("here") == "here"
    assert Redactor([])("here") == "here"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:
            continue


def test_a_full_pipe_costs_the_first_writer_its_patience_and_the_next_none(pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1])
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    assert outlet.write(b"x" * 4095 + b"\n", 0.2)
    began = time.monotonic()
    assert not outlet.write(b"y\n", 0.2)
    assert 0.15 < time.monotonic() - began < 2
    began = time.monotonic()
    assert not outlet.write(b"z\n", 5)
    assert time.monotonic() - began < 1 and outlet.dropped == 2
    os.read(pipe[0], 65536)
    assert outlet.write(b"again\n", 1) and os.read(pipe[0], 65536) == b"again\n"
    assert os.get_blocking(pipe[1]), "the descriptor belongs to others as well"


def test_a_line_that_was_torn_is_ended_before_the_next(pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1])
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 8192)
    assert not outlet.write(b"x" * 20_000 + b"\n", 0.05)
    os.read(pipe[0], 65536)
    assert outlet.write(b"next\n", 1)
    assert os.read(pipe[0], 65536) == b"\nnext\n"


def test_a_reader_that_left_turns_the_descriptor_into_dev_null(pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1])
    os.close(pipe[0])
    assert outlet.write(b"into the void\n", 1) and outlet.write(b"again\n", 1)
    os.write(pipe[1], b"C code writes too")


def test_a_socket_such_as_the_journals_is_written_without_waiting() -> None:
    import socket

    ours, theirs = socket.socketpair()
    outlet = Outlet(ours.fileno())
    assert outlet.write(b"line\n", 1) and theirs.recv(100) == b"line\n"
    while outlet.write(b"x" * 60_000, 0):
        continue
    assert ours.getblocking()


def test_a_file_is_appended_to_where_it_stands(tmp_path: Any) -> None:
    file = tmp_path / "log"
    with file.open("wb") as stream:
        stream.write(b"before\n")
        stream.flush()
        assert Outlet(stream.fileno()).write(b"x" * 10_000 + b"\n", 1)
    assert file.read_bytes().startswith(b"before\nxxx") and file.stat().st_size == 10_008


def queue(pipe: tuple[int, int], capacity: int) -> tuple[LogQueue, logging.Logger]:
    handler = LogQueue(Outlet(pipe[1]), Lines({}, Redactor(()), tracebacks=False), capacity)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return handler, logger


def test_whoever_logs_never_waits_and_warnings_outlive_the_rest(pipe: tuple[int, int]) -> None:
    handler, logger = queue(pipe, capacity=50)
    began = time.monotonic()
    for number in range(2000):
        logger.log(logging.WARNING if number % 100 == 0 else logging.INFO, "n%d %s", number, "x" * 500)
    assert time.monotonic() - began < 2 and handler.dropped > 1000
    # what the pipe itself had taken before it was full is there in any case
    text = read_for(pipe[0], 3.0)
    whole = (each for each in text.splitlines() if each.startswith(b"{") and each.endswith(b"}"))
    messages = [json.loads(each)["message"] for each in whole]
    assert {f"n{number}" for number in range(0, 2000, 100)} <= {message.split()[0] for message in messages}
    assert any("log lines were lost" in message for message in messages)


def test_what_is_queued_is_written_before_the_end(pipe: tuple[int, int]) -> None:
    handler, logger = queue(pipe, capacity=1000)
    for number in range(100):
        logger.info("n%d", number)
    handler.drain(5)
    assert len(read_for(pipe[0], 0.2).splitlines()) == 100


def test_the_end_does_not_wait_for_a_reader_that_does_not_read(pipe: tuple[int, int]) -> None:
    handler, logger = queue(pipe, capacity=1000)
    for _ in range(200):
        logger.info("x" * 4000)
    began = time.monotonic()
    handler.drain(0.3)
    assert time.monotonic() - began < 2


def read_for(fd: int, seconds: float) -> bytes:
    os.set_blocking(fd, False)
    taken, deadline = io.BytesIO(), time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            taken.write(os.read(fd, 65536))
        except BlockingIOError:
            threading.Event().wait(0.01)
    return taken.getvalue()


@pytest.mark.parametrize(
    ("name", "message", "written"),
    [
        ("livekit.agents", "plugin registered", "debug"),
        ("livekit.agents", "received job request", "info"),
        ("livekit.agents", "draining worker", "debug"),
        ("my.agent", "plugin registered", "info"),
    ],
)
def test_what_livekit_logs_at_every_start_is_written_as_debug(name, message, written):
    record = logging.LogRecord(name, logging.INFO, "f.py", 1, message, None, None)
    assert logging.getLevelName(json_lines.level(record)).lower() == written


@pytest.fixture
def fresh_structlog() -> Iterator[None]:
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level = handlers, level


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, made: logging.LogRecord) -> None:
        self.records.append(made)


def test_what_is_logged_with_structlog_takes_the_same_way(fresh_structlog: None) -> None:
    through_logging()
    kept = Kept()
    logging.getLogger().addHandler(kept)
    logging.getLogger().setLevel(logging.INFO)
    structlog.get_logger("an.agent").info("booked %s", "a table", seats=2, name="Ada", key=object)
    structlog.get_logger("an.agent").debug("not at this level")
    (made,) = kept.records
    fields = line(made)
    assert (fields["event"], fields["message"], fields["logger"]) == (WORKER_LOG, "booked a table", "an.agent")
    assert (fields["seats"], fields["name_"], fields["key"]) == (2, "Ada", "<class 'object'>")
    structlog.get_logger().warning("stt.deaf", seconds=3)
    fields = line(kept.records[-1])
    assert (fields["level"], fields["event"], fields["seconds"]) == ("warning", "stt.deaf", 3)


def test_an_agent_that_has_configured_structlog_keeps_its_own(fresh_structlog: None) -> None:
    structlog.configure(processors=[structlog.testing.LogCapture()])
    before = structlog.get_config()["processors"]
    through_logging()
    assert structlog.get_config()["processors"] is before


def test_in_a_job_every_record_says_which_call_it_is_about(fresh_structlog: None) -> None:
    """Also after LiveKit has sent it to the worker by pickle."""
    kept = Kept()
    logging.getLogger().handlers[:] = [kept]
    logging.getLogger().setLevel(logging.INFO)

    async def call(room: str) -> None:
        setup.start_in_job(room, f"AJ_{room}")
        structlog.contextvars.bind_contextvars(order=lambda: None)
        await asyncio.sleep(0)
        logging.getLogger("an.agent").info("by logging")
        structlog.get_logger("an.agent").info("by structlog")

    async def calls() -> None:
        await asyncio.gather(call("r1"), call("r2"))

    asyncio.run(calls())
    sent = [line(pickle.loads(pickle.dumps(made))) for made in kept.records]
    assert sorted((each["room"], each["job"], each["message"]) for each in sent) == [
        (room, f"AJ_{room}", how) for room in ("r1", "r2") for how in ("by logging", "by structlog")
    ]
    assert all("<function" in each["order"] for each in sent)


def test_what_is_bound_in_the_worker_itself_is_in_its_records(fresh_structlog: None) -> None:
    structlog.contextvars.bind_contextvars(room="r")
    assert line(record("x"))["room"] == "r"


def test_the_processors_can_be_looked_at_one_by_one() -> None:
    capture = structlog.testing.LogCapture()
    chain = [log_chain.Origin({"host": "h"}), log_chain.in_order, log_chain.Mask(Redactor([SECRET])), capture]
    structlog.wrap_logger(None, processors=chain).warning("some.thing", text=SECRET, none=None, host="mine")
    expected = {"event": "some.thing", "host": "h", "text": MASK, "host_": "mine", "log_level": "warning"}
    assert capture.entries == [expected]


def test_without_a_thread_lines_are_written_at_once(pipe: tuple[int, int]) -> None:
    logger = logging.Logger("test")
    logger.addHandler(UnqueuedLog(Outlet(pipe[1]), Lines({}, Redactor(()), tracebacks=False)))
    threads = threading.active_count()
    logger.warning("from the template")
    assert json.loads(os.read(pipe[0], 65536))["message"] == "from the template"
    assert threading.active_count() == threads


def test_a_secret_that_begins_where_a_text_is_cut_is_masked_first() -> None:
    text = "x" * (log_records.TEXT_MAX - 5) + " " + SECRET + "y" * 100
    shown = line(record(text), secrets=(SECRET,))["message"]
    assert MASK in shown and "sk-" not in shown and shown.endswith("characters)")
