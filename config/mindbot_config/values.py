"""How a value is shown to people: as TOML writes it, on one line, and never a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_SECRET_KEY = re.compile(r"url|secret|key|token|password", re.IGNORECASE)
_LENGTH_MAX = 60
HIDDEN = "***"


def shown(key: str, value: Any) -> str:
    """The whole value; of what may hold a secret only the host."""
    if value is None:
        return '""'
    if value and _SECRET_KEY.search(key.rpartition(".")[2]):
        value = host_only(str(value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def quoted(key: str, value: Any) -> str:
    """The value within an error message; where it is long, it is cut between words, so that no secret is cut in two."""
    text = shown(key, value)
    return text if len(text) <= _LENGTH_MAX else text[:_LENGTH_MAX].rpartition(" ")[0] + " …"


def host_only(url: str) -> str:
    """Scheme, host and port of a URL; nothing of what is no URL."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return HIDDEN
    if not (parts.scheme and parts.hostname):
        return HIDDEN
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    bare = f"{parts.scheme}://{host}{port}"
    return bare if url.rstrip("/") == bare else f"{bare}/{HIDDEN}"


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with each of these values hidden, longest first."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def as_variable(value: Any) -> str:
    """The value as pydantic-settings reads it from an environment variable."""
    match value:
        case None:
            return ""
        case str():
            return value
        case Path():
            return str(value)
        case _:
            return json.dumps(value)
