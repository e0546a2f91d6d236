"""The worker side of mindbot-supervisor: runs a LiveKit AgentServer, and tells its supervisor in heartbeats how it is.

    runtime/          one worker process: start, registration, capacity, heartbeat, shutdown
    jobs/             what runs in the job processes of that worker, around the agent's own functions
    sdk/              what authors of agents import, from this package: `from mindbot_worker import watch_audio`
    mindbot/          the agent that is served when none is named
    providers/        requests to OpenAI and Deepgram: shared limits, pauses, fallbacks, usage
    template/         the process that imports the agent once and forks workers
    protocol/         the wire formats between supervisor, template, workers and jobs
    livekit_adapter/  every private name of LiveKit that is used
    logging/          log lines, and output that never blocks
    standins/         local OpenAI, Deepgram and livekit-server, for development and tests

Importing this package imports no LiveKit: the first heartbeat goes out before that.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mindbot_worker.jobs.notify_error import CallEnded, notify_error
    from mindbot_worker.sdk.connect_with_retry import ConnectFailed, connect_with_retry
    from mindbot_worker.sdk.limited_clients import limited_deepgram_session, limited_openai_client
    from mindbot_worker.sdk.performance import monitor_performance
    from mindbot_worker.sdk.recovered_conversation import recovered_conversation
    from mindbot_worker.sdk.robust_entrypoint import robust_entrypoint
    from mindbot_worker.sdk.watch_audio import watch_audio

__all__ = [
    "CallEnded",
    "ConnectFailed",
    "connect_with_retry",
    "limited_deepgram_session",
    "limited_openai_client",
    "monitor_performance",
    "notify_error",
    "recovered_conversation",
    "robust_entrypoint",
    "watch_audio",
]

_MODULES = {
    "CallEnded": "jobs.notify_error",
    "ConnectFailed": "sdk.connect_with_retry",
    "connect_with_retry": "sdk.connect_with_retry",
    "limited_deepgram_session": "sdk.limited_clients",
    "limited_openai_client": "sdk.limited_clients",
    "monitor_performance": "sdk.performance",
    "notify_error": "jobs.notify_error",
    "recovered_conversation": "sdk.recovered_conversation",
    "robust_entrypoint": "sdk.robust_entrypoint",
    "watch_audio": "sdk.watch_audio",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
