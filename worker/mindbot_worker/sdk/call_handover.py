"""Gives a call to a new agent: this job's process ends as a dead one, and the supervisor's recovery does the rest."""

from __future__ import annotations

import logging
import os
from typing import NoReturn

from livekit.agents import JobContext, JobExecutorType

from mindbot_worker.jobs import call_journal
from mindbot_worker.protocol import heartbeat
from mindbot_worker.runtime.shutdown import EX_SOFTWARE

HANDED_OVER = "job.handed_over"
_LAST_WORDS = 1.0
"""Seconds in which the last log lines must have left this process."""

logger = logging.getLogger(__name__)


def is_possible(context: JobContext) -> bool:
    """Whether a supervisor recovers the calls of this worker. Once for each call: an agent that continues a call and
    fails as well would only be followed by the next.
    """
    in_process = context.proc.executor_type is JobExecutorType.PROCESS
    return (
        in_process and call_journal.keeps(context.job.id) and heartbeat.RECOVERS not in call_journal.attributes(context)
    )


def hand_over() -> NoReturn:
    """A shutdown would say that the call has ended, and its journal would be gone."""
    logger.warning("the call is handed over to a new agent", extra={"event": HANDED_OVER})
    for handler in list(logging.getLogger().handlers):
        handler.close()
        thread = getattr(handler, "thread", None)
        if thread is not None:
            thread.join(_LAST_WORDS)
    os._exit(EX_SOFTWARE)
