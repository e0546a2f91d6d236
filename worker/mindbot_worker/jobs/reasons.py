"""What went wrong, in one line that may be logged."""

from __future__ import annotations

from livekit.agents import APIStatusError

_LENGTH_MAX = 400


def one_line(error: object) -> str:
    # the body of a provider's answer may hold what was said, or a part of the key
    text = error.message if isinstance(error, APIStatusError) else str(error)
    said = " ".join(text.split())
    return (f"{type(error).__name__}: {said}" if said else type(error).__name__)[:_LENGTH_MAX]
