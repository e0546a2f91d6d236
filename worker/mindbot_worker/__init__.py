"""The worker side of mindbot-supervisor: runs a LiveKit AgentServer and tells its supervisor how it is.

Where to look, in the order in which things happen:

    __main__, program      start, and the one way to end; environment, agent: what is taken, what is refused
    options                what is set on the user's server: ports, retries, seats (capacity, load), the job side
    runner                 server.run() until the stop (stop, leash) and its end (ending)
    registration           registered or not, and why (connection)
    pool_watch, inbox      calls, from LiveKit's pool and the jobs' own reports (reports), in one book: calls
    pulse, vitals          heartbeats: when, and what they say; wire is the protocol, heartbeat the pipe
    output/                the log, print(), and readers that do not read
    jobs/                  the same calls from inside their job processes
    journal                what was said so far, kept while the call lives; recovered: for the agent that continues it
    voice/                 MindBot itself; synthetic: calls without a caller
    local/                 stand-ins for the providers
    livekit_internals      everything private of LiveKit that is touched

Importing this package imports no LiveKit: the first heartbeat goes out before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mindbot_worker.recovered import recovered_conversation

__all__ = ["recovered_conversation"]


def __getattr__(name: str) -> Any:
    if name != "recovered_conversation":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mindbot_worker.recovered import recovered_conversation

    return recovered_conversation
