"""Keeps the log of LiveKit's native library inside of it, except for warnings, which the library writes to stderr.

The Python package has the library pass on every record, down to TRACE: 1500 for one room that is joined, each read in
Python and then dropped. That was half of the CPU that joining took (85 ms of it, 45 without), and goes on while the
call lasts.
"""

from __future__ import annotations

import os
from typing import Any

from livekit.rtc import _ffi_client

DEBUG = "LIVEKIT_RTC_DEBUG"
"""LiveKit's own switch to see every record; with it nothing is changed here."""
FILTER, WARNINGS = "RUST_LOG", "warn"


def leave_to_library() -> None:
    """Stop the native library from passing its log on. Called in a job process, before its first use there."""
    get = getattr(_ffi_client, "get_ffi_lib", None)
    if get is None or isinstance(get, _Library) or os.environ.get(DEBUG, "").strip().lower() in ("1", "true"):
        return
    os.environ.setdefault(FILTER, WARNINGS)
    _ffi_client.get_ffi_lib = _Library(get)


class _Library:
    """Stands for `get_ffi_lib`: gives a library that does not pass its log on."""

    def __init__(self, get: Any) -> None:
        self._get = get

    def __call__(self) -> Any:
        library = self._get()
        library.livekit_ffi_initialize = _Initialize(library.livekit_ffi_initialize)
        return library


class _Initialize:
    """The library's initialize function, with its second argument, whether to pass the log on, always False.

    Called as in livekit/rtc/_ffi_client.py: with a callback, that flag, and two names.
    """

    _function: Any

    def __init__(self, function: Any) -> None:
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._function, name, value)  # argtypes

    def __call__(self, callback: Any, _: bool, *names: bytes) -> Any:
        return self._function(callback, False, *names)
