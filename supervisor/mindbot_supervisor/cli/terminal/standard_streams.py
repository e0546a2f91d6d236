"""Standard output and error that never end a command by a traceback, whatever they are connected to.

Text that the encoding cannot write is spelled in ASCII. A reader that has gone away (`| head -1`) is no error: what is
written afterwards is dropped. A full disk and a closed descriptor are told in one line.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from typing import TextIO

from mindbot_config.host.standard_descriptors import is_open, open_null
from mindbot_supervisor.errors import SupervisorError

IN_ASCII = {"→": "->", "…": "...", "–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "×": "x", "·": "-"}
HANDLER = "mindbot.in_ascii"


class CannotWrite(SupervisorError):
    """The output cannot be written."""

    code = 1


class Output(io.TextIOWrapper):
    """A standard stream: its errors are CannotWrite, or nothing where nobody reads it any more."""

    label = ""
    """What it is called in an error."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as exc:
            self._drop(exc)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as exc:
            self._drop(exc)

    def _drop(self, exc: OSError) -> None:
        """Nothing more is written: what is still buffered would fail again when the interpreter ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if exc.errno != errno.EPIPE:
            raise CannotWrite(f"cannot write to {self.label}: {exc.strerror}") from exc


def take_over() -> None:
    """Make stdout and stderr such streams, and see that descriptors 0 to 2 are open: a socket must not become one."""
    codecs.register_error(HANDLER, _in_ascii)
    for fd in range(3):
        if not is_open(fd):
            open_null(fd)
    if sys.stdout is sys.__stdout__:  # else somebody catches what is printed
        sys.stdout = _output(sys.stdout, "standard output")
    if sys.stderr is sys.__stderr__:
        sys.stderr = _output(sys.stderr, "standard error")


def finish() -> None:
    """Write what is buffered. Raises CannotWrite."""
    sys.stdout.flush()


def complain(line: str) -> None:
    """One line on standard error, if it can be written at all."""
    with contextlib.suppress(CannotWrite):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _output(stream: TextIO | None, label: str) -> Output:
    if isinstance(stream, io.TextIOWrapper):
        encoding, lines, through = stream.encoding, stream.line_buffering, stream.write_through
        made = Output(stream.buffer, encoding, HANDLER, line_buffering=lines, write_through=through)
    else:  # it was closed when the program began: each write fails, as it does in other programs
        unwritable = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        made = Output(io.FileIO(unwritable, "w"), "utf-8", HANDLER, write_through=True)
    made.label = label
    return made


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Spells what an encoding does not have. Raises what it was given where something is not to be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    spelled = (IN_ASCII.get(each) or each.encode("ascii", "backslashreplace").decode() for each in text)
    return "".join(spelled), error.end
