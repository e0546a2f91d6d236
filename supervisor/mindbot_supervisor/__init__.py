"""A call-aware supervisor for LiveKit voice-agent workers."""
