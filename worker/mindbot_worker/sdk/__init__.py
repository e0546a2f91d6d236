"""What authors of agents import, re-exported from `mindbot_worker`. Imports jobs, providers and livekit. Nothing in
here is needed by an agent that does not ask for it.
"""
