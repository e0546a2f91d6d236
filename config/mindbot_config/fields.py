"""The kinds of values that more than one section uses, each with its check."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator


def split_url(text: str, schemes: frozenset[str]) -> SplitResult | None:
    """The parts of a URL of one of these schemes with a host and a fitting port, or None."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if fits and text.isprintable() and " " not in text else None


def split_address(text: str) -> tuple[str, int] | None:
    """HOST:PORT or [IPV6]:PORT as a host and a port, or None. Port 0 leaves the choice to the system."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return None
    fits = host and host.isprintable() and not set(host) & set(" /[]") and port.isascii() and port.isdigit()
    return (host, int(port)) if fits and len(port) <= 5 and int(port) <= 65535 else None


def _url(text: str) -> str:
    if text and not split_url(text, frozenset({"http", "https"})):
        raise ValueError("must be an http:// or https:// URL with a host, or empty")
    return text


def _path(value: Any) -> Any:
    """Neither TOML nor an environment variable has a null: empty is none."""
    if value == "":
        return None
    if str(value).startswith("~"):
        raise ValueError('must be written out: "~" is not expanded')
    if "\0" in str(value):
        raise ValueError("must not contain a NUL character")
    return value


def _address(text: str) -> str:
    if text != "off" and split_address(text) is None:
        raise ValueError('must be HOST:PORT, such as "127.0.0.1:8090" or "[::1]:8090", or "off"')
    return text


def _host_name(text: str) -> str:
    host = text.strip().lower().rstrip(".")
    if not re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", host):
        raise ValueError('must be host names without scheme and port, such as "mindbot.example"')
    return host


OptionalUrl = Annotated[str, AfterValidator(_url)]
OptionalPath = Annotated[Path | None, BeforeValidator(_path)]
HostName = Annotated[str, AfterValidator(_host_name)]
ListenAddress = Annotated[str, AfterValidator(_address)]
