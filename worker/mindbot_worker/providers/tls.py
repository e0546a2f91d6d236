"""One TLS context for all connections to providers, in all calls: it takes 20 ms of CPU to read the bundle of CAs."""

from __future__ import annotations

import functools
import os
import ssl

import httpx2


def context() -> ssl.SSLContext:
    """For httpx2, as its clients would make one each. Like theirs, it does not notice a bundle that is replaced."""
    return _context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.cache
def _context(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return httpx2.create_ssl_context()
