"""Finds the proxy that the environment names for a URL."""

from __future__ import annotations

from urllib.parse import urlsplit


def proxy_for(url: str) -> str | None:
    """The proxy, or None. aiohttp's own look at the environment starts a thread for each request and reads ~/.netrc."""
    from urllib.request import getproxies, proxy_bypass  # 20 modules that no start needs

    parts = urlsplit(url)
    named = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    if not named:
        return None
    return named if "://" in named else f"http://{named}"
