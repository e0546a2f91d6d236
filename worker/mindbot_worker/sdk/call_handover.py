"""Hands a call over to a new agent: the job's process exits as if it had crashed, and is recovered."""

from __future__ import annotations

import logging
import os
from typing import NoReturn

from livekit.agents import JobContext, JobExecutorType

from mindbot_worker.jobs import call_journal
from mindbot_worker.protocol import heartbeat
from mindbot_worker.runtime.shutdown import EX_SOFTWARE

HANDED_OVER = "job.handed_over"
_LOG_DRAIN = 1.0
"""Seconds in which the last log lines must have left this process."""

logger = logging.getLogger(__name__)


def is_possible(context: JobContext) -> bool:
    """Whether a supervisor recovers the calls of this worker. Once for each call: an agent that continues a call and
    fails as well would only be followed by the next.
    """
    in_process = context.proc.executor_type is JobExecutorType.PROCESS
    return (
        in_process
        and call_journal.has_journal(context.job.id)
        and heartbeat.RECOVERS not in call_journal.attributes(context)
    )


def hand_over() -> NoReturn:
    """Exit at once: a shutdown of the job would report the call as ended, and delete its journal."""
    logger.warning("the call is handed over to a new agent", extra={"event": HANDED_OVER})
    for handler in list(logging.getLogger().handlers):
        handler.close()
        thread = getattr(handler, "thread", None)
        if thread is not None:
            thread.join(_LOG_DRAIN)
    os._exit(EX_SOFTWARE)
