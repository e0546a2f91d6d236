"""Cutting a stream into lines, whatever the stream is."""

from hypothesis import given
from hypothesis import strategies as st

from mindbot_supervisor.processes.pipes.worker_output import Lines


@given(st.lists(st.binary(max_size=30)), st.integers(1, 7))
def test_lines_come_out_whole_however_the_stream_is_cut(pieces, size):
    stream = b"\n".join(piece.replace(b"\n", b"") for piece in pieces) + b"\n"
    lines = Lines(longest=1000)
    found = [line for at in range(0, len(stream), size) for line in lines.feed(stream[at : at + size])]
    assert found == stream.split(b"\n")[:-1]


def test_an_overlong_line_is_cut_once_and_the_next_one_is_whole():
    lines = Lines(longest=10)
    assert lines.feed(b"a" * 25) == [b"a" * 11]
    assert lines.feed(b"a" * 1000) == []
    assert lines.feed(b"tail\nnext\n") == [b"next"]


def test_ten_megabytes_without_a_newline_hold_no_memory():
    lines = Lines(longest=100)
    for _ in range(160):
        lines.feed(b"z" * 65536)
    assert len(lines.rest()) <= 100


def test_the_rest_is_what_came_after_the_last_newline():
    lines = Lines(longest=100)
    lines.feed(b"one\ntw")
    assert lines.rest() == b"tw"
    assert lines.rest() == b""


def test_what_is_dropped_takes_the_line_along_that_it_begins_or_ends_in():
    lines = Lines(longest=100)
    lines.feed(b"begun ")
    assert lines.drop(b"in the middle\nwhole\nbegun again") == 2
    assert lines.feed(b" and ended\nnext\n") == [b"next"]
    assert lines.drop(b"whole\n") == 1
    assert lines.feed(b"next\n") == [b"next"]
    lines.drop(b"begun")
    assert lines.drop(b"") == 0 and lines.feed(b"ended\nnext\n") == [b"next"]
