"""Local stand-ins for OpenAI and Deepgram beside a local livekit-server: `python -m mindbot_worker.standins`.

For development and tests on loopback. Nothing here imports livekit.agents, so it starts in a fraction of a second.
"""
