"""LiveKit's native library writes its warnings to stderr itself, and nothing else of its log leaves it.

The Python package has it pass on every record, down to TRACE: 1500 for joining one room, each read in Python and then
dropped. That was half of the CPU that joining took (85 ms of it, 45 without), and goes on while the call lasts.
"""

from __future__ import annotations

import os
from typing import Any

from livekit.rtc import _ffi_client

DEBUG = "LIVEKIT_RTC_DEBUG"
"""LiveKit's own switch for who wants to see all of them; then everything is as LiveKit has it."""
FILTER, WARNINGS = "RUST_LOG", "warn"


def leave_to_library() -> None:
    """In a job process, before LiveKit's native library is first used there."""
    get = getattr(_ffi_client, "get_ffi_lib", None)
    if get is None or isinstance(get, _Library) or os.environ.get(DEBUG, "").strip().lower() in ("1", "true"):
        return
    os.environ.setdefault(FILTER, WARNINGS)
    _ffi_client.get_ffi_lib = _Library(get)


class _Library:
    """`get_ffi_lib`, of a library that is initialized without passing its log on."""

    def __init__(self, get: Any) -> None:
        self._get = get

    def __call__(self) -> Any:
        library = self._get()
        library.livekit_ffi_initialize = _Initialize(library.livekit_ffi_initialize)
        return library


class _Initialize:
    """As livekit/rtc/_ffi_client.py calls it: with a callback, whether to pass the log on, and two names."""

    _function: Any

    def __init__(self, function: Any) -> None:
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._function, name, value)  # argtypes

    def __call__(self, callback: Any, _: bool, *names: bytes) -> Any:
        return self._function(callback, False, *names)
