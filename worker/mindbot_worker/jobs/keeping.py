"""Keeps the journal of a job's call while it lives: every item of its sessions' history, as it is added."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from livekit.agents import AgentSession, JobContext
from livekit.agents.llm import ChatContext, ChatMessage

from mindbot_worker import wire
from mindbot_worker.journal import BadJournal, Item, Journal, read

UNKEPT = "call.unkept"
ADDED = ("conversation_item_added", "function_tools_executed")
"""After these events of a session its history has grown."""

logger = logging.getLogger(__name__)

_keepers: dict[str, Keeper] = {}


class Keeper:
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
    _keepers[context.job.id] = Keeper(journal, known)


def path_of(context: JobContext) -> Path | None:
    """Where this call's journal is; None for a worker on its own. A dispatch can name a file there and no other."""
    directory = os.environ.get(wire.RUNTIME_DIR)
    if not directory:
        return None
    name = attributes(context).get(wire.JOURNAL, "")
    if not wire.is_journal_name(name):
        name = wire.journal_name(context.job.room.name, context.job.id)
    return Path(directory) / wire.JOURNALS / name


def attributes(context: JobContext) -> dict[str, str]:
    """What the job was dispatched with; older versions of LiveKit have no such thing."""
    return dict(getattr(context.job, "attributes", {}))


def kept(session: AgentSession[Any], job: str) -> None:
    """The history of this job's session has grown."""
    keeper = _keepers.get(job)
    if keeper is not None:
        keeper.keep(session.history)


def keeps(job: str) -> bool:
    """Whether another agent could go on with this job's call."""
    return job in _keepers


def end(job: str) -> None:
    """The call ended as it should."""
    keeper = _keepers.pop(job, None)
    if keeper is not None:
        keeper.remove()
