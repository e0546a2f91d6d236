"""What the tables have in common: the base class, and the kinds of values that more than one of them uses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator


class Section(BaseModel):
    """What every section of the settings has in common: frozen, and no unknown key.

    The docstring below each field is its documentation; `example.documentation` reads it, only where it is wanted,
    because pydantic's `use_attribute_docstrings` makes the import of the settings more than twice as slow.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*")
    @classmethod
    def _fits_an_environment_variable(cls, value: object) -> object:
        """Settings travel to the workers as environment variables, which cannot hold a NUL."""
        if "\0" in (value if isinstance(value, str | tuple) else ()):
            raise ValueError("must not contain a NUL character")
        return value


_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


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
    name = text.lower().rstrip(".")
    if len(name) > 253 or not _HOST_NAME.fullmatch(name):
        raise ValueError('must be a host name without a port, such as "pool.example.org"')
    return name


OptionalUrl = Annotated[str, AfterValidator(_url)]
OptionalPath = Annotated[Path | None, BeforeValidator(_path)]
HostName = Annotated[str, AfterValidator(_host_name)]
ListenAddress = Annotated[str, AfterValidator(_address)]
AutoMegabytes = Annotated[float, Field(gt=0)] | Literal["auto"]
AutoCount = Annotated[int, Field(ge=1)] | Literal["auto"]
