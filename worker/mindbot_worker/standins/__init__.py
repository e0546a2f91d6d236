"""Local stand-ins for OpenAI and Deepgram beside a local livekit-server: `python -m mindbot_worker.standins`. For
development and tests on loopback; imports no other folder of this package. Nothing in here may import livekit.agents,
so it starts in a fraction of a second.
"""
