"""Names of LiveKit's environment variables that are set or read here, and of ours beside them. Imports nothing."""

from __future__ import annotations

LOOP_BLOCK_WARN_MS = "LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS"
"""Milliseconds for which a loop may be blocked before LiveKit warns (livekit/agents/telemetry/loop_monitor.py)."""
LOOP_BLOCK_WARN_MS_IN_CALLS = "MINDBOT_LOOP_BLOCK_WARN_MS"
"""The same, for the job processes that are in a call."""
