"""`recovered_conversation`, for agents: what was said so far in a call whose agent died or was moved.

    from mindbot_worker import recovered_conversation

    @server.rtc_session()
    async def entrypoint(context: JobContext) -> None:
        history = recovered_conversation()
        agent = MyAgent(chat_ctx=history) if history is not None else MyAgent()

The job's metadata are those of the call's first job.
"""

from __future__ import annotations

import logging

from livekit.agents import get_job_context
from livekit.agents.llm import ChatContext

from mindbot_worker.jobs.call_journal import BadJournal, Item, attributes, path_of, read
from mindbot_worker.protocol import heartbeat

CONTINUED, IGNORED = "call.continued", "journal.ignored"

logger = logging.getLogger(__name__)


def recovered_conversation() -> ChatContext | None:
    """What was said so far in a continued call, empty where that is not known any more; None in a new call."""
    context = get_job_context()
    first = attributes(context).get(heartbeat.RECOVERS)
    if not first:
        return None
    path = path_of(context)
    try:
        if path is None:
            raise BadJournal("this worker has no runtime directory")
        history = _restored(read(path, context.job.room.name))
    except BadJournal as exc:
        logger.warning("what was said before is not known", extra={"event": IGNORED, "reason": str(exc)})
        return ChatContext.empty()
    logger.info("the call goes on", extra={"event": CONTINUED, "after": first, "items": len(history.items)})
    return history


def _restored(items: list[Item]) -> ChatContext:
    try:
        return ChatContext.from_dict({"items": items})
    except Exception as exc:  # pydantic, or whatever a hostile item brings about
        raise BadJournal(f"an item of it is not one of LiveKit's ({type(exc).__name__})") from exc
