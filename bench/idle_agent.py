"""MindBot for `idle_worker.py`, whose job processes run LiveKit's loop monitor as BENCH_LOOP_BLOCK_WARN_MS wants it.

A worker sets LiveKit's own variable before it imports the agent; this overrides it.
"""

import os

from mindbot_worker.mindbot import server

__all__ = ["server"]

server._num_idle_processes = int(os.environ["BENCH_IDLE_PROCESSES"])
if wanted := os.environ.get("BENCH_LOOP_BLOCK_WARN_MS"):
    os.environ["LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS"] = wanted
