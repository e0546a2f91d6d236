"""The worker side of mindbot-supervisor: runs a LiveKit AgentServer and tells its supervisor how it is.

Where to look, in the order in which things happen:

    __main__, program      start, and the one way to end; environment, agent: what is taken, what is refused
    options                what is set on the user's server: ports, retries, seats (capacity, load), the job side
    runner                 server.run() until the stop (stop, leash) and its end (ending)
    registration           registered or not, and why (connection)
    pool_watch, inbox      calls, from LiveKit's pool and the jobs' own reports (reports), in one book: calls
    pulse, status          heartbeats: when, and what they say; wire is the protocol, heartbeat the pipe
    output/                the log, print(), and readers that do not read
    jobs/                  the same calls from inside their job processes
    performance, timings   for agents: how long a function takes, with its percentiles
    journal                what was said so far, kept while the call lives; recovered: for the agent that continues it
    providers/             for agents, too: the way to OpenAI and Deepgram, shared fairly by all calls; usage: the count
    hearing/               for agents: whether the caller can be understood, and is
    robust/                for agents: getting into the room, and a decent end where something fails
    voice/                 MindBot itself; synthetic: calls without a caller
    local/                 stand-ins for the providers
    livekit_internals      everything private of LiveKit that is touched

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

_HOMES = {
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
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
