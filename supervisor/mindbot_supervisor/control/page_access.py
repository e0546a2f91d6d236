"""Decides who may read the HTTP pages (Host header), and hides identities from other hosts.

A page in somebody's browser can have its own name resolved to our address (DNS rebinding); what the browser then sends
as Host is that name. So an address, "localhost" or a name that the operator has allowed is served, and nothing else.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from mindbot_config.sections.http import Http

HIDDEN = "hidden"

_IDENTITIES = frozenset({"room", "rooms", "identity", "identities", "participant", "caller", "job", "number", "sip"})
"""Fields that name people and their calls."""
_FREE_TEXT = frozenset({"problem", "detail", "why", "text", "message", "says", "words"})
"""Fields in which a worker's own words may name them."""
_NAME_MIN = 3
"""Characters; a shorter name is not looked for in a text."""
_PHONE = re.compile(r"sip:[^\s\"'<>]+|\+\d[\d ()./-]{4,20}\d|(?<![\w.:+-])\d{8,15}(?![\w.:-])")


@dataclass(slots=True)
class PageAccess:
    """What is served to whom. `local`: only processes of this host can reach the pages."""

    local: bool
    allowed: frozenset[str] = field(default_factory=frozenset)
    identities: bool = False

    def follow(self, settings: Http) -> None:
        self.allowed, self.identities = frozenset(settings.allowed_hosts), settings.show_identities

    def why_not(self, request: web.BaseRequest) -> str | None:
        """Why this request is refused, in one line, or None."""
        if not request.raw_path.startswith("/"):
            return "only paths are served here"
        named = request.headers.getall("Host", [])
        if len(named) != 1:
            return "a request must name one Host"
        host = host_of(named[0])
        if _is_address(host) or host == "localhost" or host in self.allowed:
            return None
        shown = "".join(c if c.isprintable() and c.isascii() else "?" for c in host[:80])
        return f'the name "{shown}" is not served here; use an address, or add the name to [http] allowed_hosts'

    def shown(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer as this server may show it."""
        return answer if self.local or self.identities else without_identities(answer)

    def shown_text(self, text: str) -> str:
        """The same for a line of text."""
        return text if self.local or self.identities else _PHONE.sub(HIDDEN, text)


def host_of(header: str) -> str:
    """The name or address in a Host header, without port and brackets, in lower case."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def without_identities(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer without rooms, participants and phone numbers."""
    names = sorted({name for name in _named(answer) if len(name) >= _NAME_MIN}, key=len, reverse=True)
    known = re.compile("|".join(map(re.escape, names))) if names else None
    cleaned: dict[str, Any] = _cleaned("", answer, known)
    return cleaned


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key in _IDENTITIES:
                yield from (text for text in (each if isinstance(each, list) else [each]) if isinstance(text, str))
            yield from _named(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _named(each)


def _cleaned(field_name: str, value: Any, known: re.Pattern[str] | None) -> Any:
    if field_name in _IDENTITIES and value:
        return HIDDEN
    if isinstance(value, dict):
        return {_without_phone(str(key)): _cleaned(str(key), each, known) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(field_name, each, known) for each in value]
    if not isinstance(value, str):
        return value
    return _without_phone(known.sub(HIDDEN, value) if known is not None and field_name in _FREE_TEXT else value)


def _without_phone(text: str) -> str:
    return _PHONE.sub(HIDDEN, text)
