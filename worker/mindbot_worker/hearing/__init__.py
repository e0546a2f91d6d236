"""For agents: what reaches the agent of its caller's voice, and whether it is understood.

watching             watch_audio: what is told, and when
listening            a second ear on the caller's track, for
    sound            level, clipping and silence, from the samples
    network          packet loss, jitter and round trip, from WebRTC's statistics
    quality          both in one verdict
repair               connects a speech recognition anew that has gone deaf, as told by
    deafness         speech that nobody transcribes
"""
