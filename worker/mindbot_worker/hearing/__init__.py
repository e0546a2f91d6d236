"""For agents: what reaches the agent of its caller's voice.

watching    watch_audio: measures each call, logs it, restarts a speech recognition that has gone deaf
sound       level, clipping and silence, from the samples
network     packet loss, jitter and round trip, from WebRTC's statistics
quality     both in one verdict
deafness    speech that nobody transcribes
"""
