"""The journal of a call: what was said so far, as JSON lines in a file of its own, for the agent that must continue
the call.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from livekit.agents import AgentSession, JobContext
from livekit.agents.llm import ChatContext, ChatMessage

from mindbot_config.files.read_file import read_regular
from mindbot_config.host.descriptors import Descriptor
from mindbot_config.output import strict_json
from mindbot_worker.protocol import heartbeat

VERSION = 1
SIZE_MAX = 1024 * 1024
"""Bytes from which on a journal is cut down to its end; a call of an hour has about a tenth of it."""
KEPT = 200
"""Lines that are left of one that is cut down: what a model remembers of a long talk."""
READ_MAX = 2 * SIZE_MAX
"""A larger file was not written here."""
_LINE_MAX = 256 * 1024

Item = Mapping[str, Any]


class BadJournal(Exception):
    """A file that is no journal of this call; the message says why, in a few words and without a word of it."""


class Journal:
    """Appends to one file. Raises OSError; the call must go on without it then."""

    def __init__(self, path: Path, room: str) -> None:
        self._path, self._room = path, room
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._file = _open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._is_held = _hold(self._file.fileno())
        self._size = _mend(self._file.fileno())
        if self._size == 0:
            self._write(_header(room))

    def add(self, items: Iterable[Item]) -> None:
        if os.fstat(self._file.fileno()).st_nlink == 0:
            self._put_back()
        for item in items:
            line = _line(item)
            if len(line) <= _LINE_MAX:
                self._write(line)
        if self._size > SIZE_MAX:
            self._cut()

    def remove(self) -> None:
        """The call has ended."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._file.close()

    def _write(self, line: bytes) -> None:
        self._is_held = self._is_held or _hold(self._file.fileno())
        self._size += self._file.write(line)

    def _put_back(self) -> None:
        """Somebody has removed the file: what was said so far must be found under its name."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._replace(os.pread(self._file.fileno(), self._size, 0))

    def _cut(self) -> None:
        lines = os.pread(self._file.fileno(), self._size, 0).splitlines(keepends=True)
        self._replace(_header(self._room) + b"".join(lines[1:][-KEPT:]))

    def _replace(self, data: bytes) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        file = _open(fresh, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL)
        self._is_held = _hold(file.fileno())
        try:
            size = file.write(data)
            fresh.replace(self._path)
        except OSError:
            file.close()
            raise
        self._file.close()
        self._file, self._size = file, size


def read(path: Path, room: str) -> list[Item]:
    """What was said. Raises BadJournal, and nothing else, whatever the file is; a torn last line is left out."""
    lines = _read(path).split(b"\n")[:-1]
    if not lines:
        raise BadJournal("it is empty")
    header, *items = (_parse(line) for line in lines)
    if header.get("v") != VERSION:
        raise BadJournal("it has no header that is known here")
    if header.get("room") != room:
        raise BadJournal("it belongs to another room")
    return items


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, limit=READ_MAX, ours=True).data
    except FileNotFoundError as exc:
        raise BadJournal("there is none on this host") from exc
    except OSError as exc:
        raise BadJournal(f"it cannot be read: {exc.strerror}") from exc


def _open(path: Path, flags: int) -> Descriptor:
    """Only a regular file of our own, and not through a link."""
    opened = Descriptor(os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    found = os.fstat(opened.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        opened.close()
        raise PermissionError(1, "not a file of ours")
    return opened


def _hold(fd: int) -> bool:
    """Lock the journal for as long as this process writes it: so the supervisor knows that its job lives, whatever
    anybody says of it. A lock that cannot be had is tried again with the next line.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _mend(fd: int) -> int:
    """Cut off what a killed writer left of a line; the size in bytes."""
    size = os.fstat(fd).st_size
    tail = os.pread(fd, _LINE_MAX, max(size - _LINE_MAX, 0))
    torn = len(tail) - (tail.rfind(b"\n") + 1)
    if torn:
        os.ftruncate(fd, size - torn)
    return size - torn


def _header(room: str) -> bytes:
    return _line({"v": VERSION, "room": room})


def _line(fields: Item) -> bytes:
    return strict_json.dump_bytes(fields, compact=True) + b"\n"


def _parse(line: bytes) -> Item:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise BadJournal("a line of it is not JSON") from exc
    if not isinstance(fields, dict):
        raise BadJournal("a line of it is not a JSON object")
    return fields


UNKEPT = "call.unkept"
ADDED = ("conversation_item_added", "function_tools_executed")
"""After these events of a session its history has grown."""

logger = logging.getLogger(__name__)

_writers: dict[str, JournalWriter] = {}


class JournalWriter:
    """Writes each item once, by its id; those that an earlier agent wrote are known from the file."""

    def __init__(self, journal: Journal, known: set[str]) -> None:
        self._journal: Journal | None = journal
        self._known = known

    def keep(self, history: ChatContext) -> None:
        """A full disk ends the keeping, not the call."""
        if self._journal is None:
            return
        try:
            self._journal.add(self._fresh(history))
        except OSError as exc:
            self._journal = None
            logger.warning("the conversation is no longer kept", extra={"event": UNKEPT, "reason": exc.strerror})

    def _fresh(self, history: ChatContext) -> Iterator[Item]:
        fresh = [item for item in history.items if item.id not in self._known and is_said(item)]
        self._known.update(item.id for item in fresh)
        yield from ChatContext(fresh).to_dict(exclude_timestamp=False, exclude_metrics=True)["items"]

    def remove(self) -> None:
        if self._journal is not None:
            self._journal.remove()
            self._journal = None


def is_said(item: Any) -> bool:
    """Instructions are the agent's own, and not part of what was said."""
    if isinstance(item, ChatMessage):
        return item.role in ("user", "assistant")
    return item.type in ("function_call", "function_call_output")


def begin(context: JobContext) -> None:
    """Keep what is said in this job's call, after what was kept of it already."""
    path, room = path_of(context), context.job.room.name
    if path is None or context.is_fake_job():
        return
    try:
        journal = Journal(path, room)
        known = {str(item.get("id")) for item in read(path, room)}
    except BadJournal:
        known = set()  # whoever wants to continue it is told what is wrong with it
    except OSError as exc:
        logger.warning("the conversation is not kept", extra={"event": UNKEPT, "reason": exc.strerror})
        return
    _writers[context.job.id] = JournalWriter(journal, known)


def path_of(context: JobContext) -> Path | None:
    """Where this call's journal is; None for a worker on its own. A dispatch can name a file there and no other."""
    directory = os.environ.get(heartbeat.RUNTIME_DIR)
    if not directory:
        return None
    name = attributes(context).get(heartbeat.JOURNAL, "")
    if not heartbeat.is_journal_name(name):
        name = heartbeat.journal_name(context.job.room.name, context.job.id)
    return Path(directory) / heartbeat.JOURNALS / name


def attributes(context: JobContext) -> dict[str, str]:
    """What the job was dispatched with; older versions of LiveKit have no such thing."""
    return dict(getattr(context.job, "attributes", {}))


def kept(session: AgentSession[Any], job: str) -> None:
    """The history of this job's session has grown."""
    keeper = _writers.get(job)
    if keeper is not None:
        keeper.keep(session.history)


def keeps(job: str) -> bool:
    """Whether another agent could go on with this job's call."""
    return job in _writers


def end(job: str) -> None:
    """The call ended as it should."""
    keeper = _writers.pop(job, None)
    if keeper is not None:
        keeper.remove()
