"""What authors of agents import, re-exported from `mindbot_worker`: connect_with_retry, robust_entrypoint, watch_audio
and more. May import `jobs`, `providers`, `livekit_adapter` and livekit. Nothing in here may be needed by an agent that
does not ask for it.
"""
