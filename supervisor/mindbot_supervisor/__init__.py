"""A call-aware supervisor for LiveKit voice-agent workers: the daemon and its command line.

Each folder is a domain and says in its `__init__.py` what lives there. The layers are in ARCHITECTURE.md: only `cli` is
above `daemon`, and nothing in `core` acts.
"""
