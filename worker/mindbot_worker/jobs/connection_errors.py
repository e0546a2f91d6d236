"""Errors of a call's connection: which exceptions are one, and the one that says that there is no call any more."""

from __future__ import annotations

import aiohttp
from livekit import rtc

CONNECTION = "connection"
"""Kind of error: no connection, for good."""
CONNECTION_ERRORS = (rtc.ConnectError, ConnectionError, TimeoutError, aiohttp.ClientConnectionError)


class CallEnded(Exception):
    """There is no call any more: the caller has left, or the job was told to end. Nothing went wrong."""


def is_connection_error(error: BaseException) -> bool:
    return isinstance(error, CONNECTION_ERRORS)
