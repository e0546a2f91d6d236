"""Keeps a journal of each call: what was said so far, as JSON lines in a file, for the agent that must continue it."""

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
"""Bytes above which only the end of a journal is kept; a call of an hour has about a tenth of it."""
KEPT = 200
"""Lines that are left of a journal that is too long."""
READ_MAX = 2 * SIZE_MAX
"""Bytes of a file that is read at most; a larger one was not written here."""
_LINE_MAX = 256 * 1024

Item = Mapping[str, Any]


class BadJournal(Exception):
    """A file that is no journal of this call; the message says why, and quotes nothing of the file."""


class Journal:
    """Appends lines to one file. Its methods raise OSError; the call must go on without a journal then."""

    def __init__(self, path: Path, room: str) -> None:
        self._path, self._room = path, room
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._file = _open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._is_locked = _lock(self._file.fileno())
        self._size = _cut_torn_line(self._file.fileno())
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
        """Delete the journal, as the call has ended."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._file.close()

    def _write(self, line: bytes) -> None:
        self._is_locked = self._is_locked or _lock(self._file.fileno())
        self._size += self._file.write(line)

    def _put_back(self) -> None:
        """Write the whole journal again under its name, after somebody has removed the file."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._replace(os.pread(self._file.fileno(), self._size, 0))

    def _cut(self) -> None:
        lines = os.pread(self._file.fileno(), self._size, 0).splitlines(keepends=True)
        self._replace(_header(self._room) + b"".join(lines[1:][-KEPT:]))

    def _replace(self, data: bytes) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        file = _open(fresh, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL)
        self._is_locked = _lock(file.fileno())
        try:
            size = file.write(data)
            fresh.replace(self._path)
        except OSError:
            file.close()
            raise
        self._file.close()
        self._file, self._size = file, size


def read(path: Path, room: str) -> list[Item]:
    """Read what was said. Raises BadJournal, and nothing else, whatever the file is; a torn last line is left out."""
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
    """Open a regular file of our own user, never through a symbolic link. Raises OSError."""
    opened = Descriptor(os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    found = os.fstat(opened.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        opened.close()
        raise PermissionError(1, "not a file of ours")
    return opened


def _lock(fd: int) -> bool:
    """Lock the journal for as long as this process writes it: so the supervisor knows that its job lives, whatever
    anybody says of it. A lock that cannot be had is tried again with the next line.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _cut_torn_line(fd: int) -> int:
    """Cut off the torn last line of a killed writer; returns the size in bytes."""
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
    """Writes each item of a call's history to its journal once, by its id."""

    def __init__(self, journal: Journal, known: set[str]) -> None:
        self._journal: Journal | None = journal
        self._known = known

    def keep(self, history: ChatContext) -> None:
        """Write what is new in the history. An error, such as a full disk, ends the journal and not the call."""
        if self._journal is None:
            return
        try:
            self._journal.add(self._fresh(history))
        except OSError as exc:
            self._journal = None
            logger.warning("the conversation is no longer kept", extra={"event": UNKEPT, "reason": exc.strerror})

    def _fresh(self, history: ChatContext) -> Iterator[Item]:
        fresh = [item for item in history.items if item.id not in self._known and is_conversation(item)]
        self._known.update(item.id for item in fresh)
        yield from ChatContext(fresh).to_dict(exclude_timestamp=False, exclude_metrics=True)["items"]

    def remove(self) -> None:
        if self._journal is not None:
            self._journal.remove()
            self._journal = None


def is_conversation(item: Any) -> bool:
    """Whether an item of the history was said, or is a function call: the agent's instructions are neither."""
    if isinstance(item, ChatMessage):
        return item.role in ("user", "assistant")
    return item.type in ("function_call", "function_call_output")


def begin(context: JobContext) -> None:
    """Begin the journal of this job's call, or go on with the one that an earlier agent began."""
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
    """The file of this call's journal; None without a supervisor. A dispatch may name another file there."""
    directory = os.environ.get(heartbeat.RUNTIME_DIR)
    if not directory:
        return None
    name = attributes(context).get(heartbeat.JOURNAL, "")
    if not heartbeat.is_journal_name(name):
        name = heartbeat.journal_name(context.job.room.name, context.job.id)
    return Path(directory) / heartbeat.JOURNALS / name


def attributes(context: JobContext) -> dict[str, str]:
    """The attributes of the job's dispatch; older versions of LiveKit have none."""
    return dict(getattr(context.job, "attributes", {}))


def write_history(session: AgentSession[Any], job: str) -> None:
    """Write what is new in the history of this job's session."""
    writer = _writers.get(job)
    if writer is not None:
        writer.keep(session.history)


def has_journal(job: str) -> bool:
    """Whether this job's call has a journal, so that another agent could continue it."""
    return job in _writers


def end(job: str) -> None:
    """Delete the journal of a call that ended as it should."""
    writer = _writers.pop(job, None)
    if writer is not None:
        writer.remove()
