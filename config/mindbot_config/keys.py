"""The dotted keys of the settings ("socket", "pool.workers"), with the variable and the flag of each.

Also how nested values become flat ones and back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mindbot_config.output import strict_json
from mindbot_config.sections.base import Section
from mindbot_config.settings import Settings

PREFIX = "MINDBOT_"

SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}

CREDENTIALS = frozenset(str(field.validation_alias) for field in Settings.model_fields.values() if field.exclude)
"""The credentials among the settings: by the name of their variable, and no keys of the TOML file."""

_OPTIONS = {"env.file": "--env-file", "log.level": "--log-level", "log.format": "--log-format", "http.listen": "--http"}


def flatten(nested: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values; what is no value of a section is left as it is, to be refused by its key."""
    for name, value in nested.items():
        if isinstance(value, Mapping) and (value or name in SECTIONS):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `flatten`."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        section, dot, name = key.partition(".")
        if dot:
            nested.setdefault(section, {})[name] = value
        else:
            nested[key] = value
    return nested


def values(settings: Settings) -> dict[str, Any]:
    """Every dotted key with its effective value."""
    return dict(flatten(settings.model_dump()))


DEFAULTS = values(Settings())
KEYS = tuple(DEFAULTS)


def variable(key: str) -> str:
    """The environment variable of a key."""
    return PREFIX + key.upper().replace(".", "__")


def option(key: str) -> str:
    """The command line flag of a key."""
    return _OPTIONS.get(key) or "--" + key.rpartition(".")[2].replace("_", "-")


def as_variable(value: Any) -> str:
    """The value as an environment variable has it."""
    match value:
        case None:
            return ""
        case str():
            return value
        case Path():
            return str(value)
        case _:
            return strict_json.dumps(value)
