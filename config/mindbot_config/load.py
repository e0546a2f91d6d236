"""Reads the settings from all their sources, checks them, and knows which source each came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mindbot_config import keys, messages
from mindbot_config.credentials import NAMES, secret_values
from mindbot_config.errors import ConfigError
from mindbot_config.messages import Finding, Given
from mindbot_config.output.redaction import Redactor
from mindbot_config.settings import CHOSEN_SOURCES, Settings
from mindbot_config.sources import AllSources, EnvironmentOnly, Model, Source


@dataclass(frozen=True)
class Loaded:
    """The effective settings, and where each comes from."""

    settings: Settings
    sources: Mapping[str, str]
    """Dotted key -> "flag --workers", "environment MINDBOT_POOL__WORKERS", "env file PATH", "file PATH", "default"."""
    credential_sources: Mapping[str, str]
    """Name of each credential that is set -> "environment", "env file PATH" or "systemd credential"."""
    environ: Mapping[str, str] = field(repr=False)
    """The environment with all that the env file and systemd add; `from_environ` makes equal settings from it."""
    file: Path | None = None
    """The TOML file that was read."""
    warnings: tuple[str, ...] = ()
    """What is no error and should be mended all the same, each in one plain line."""


def load(flags: Mapping[str, Any], config: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Read all sources; every failure is a `ConfigError`. `flags` holds only the flags that were given, nested.

    It reads files, and may take seconds where a file system does not answer: not to be called in an event loop.
    """
    reading = AllSources(flags, config, environ)
    settings = _validated(reading)
    ours = {name for source in reading.variables for name in source.names()} - keys.CREDENTIALS
    return Loaded(
        settings=settings,
        sources={key: reading.where(key, "default") for key in keys.KEYS},
        credential_sources={name: where for name in NAMES if (where := reading.where(name, ""))},
        environ={name: value for name, value in reading.merged().items() if name not in ours} | to_environ(settings),
        file=reading.file,
        warnings=reading.env_file.warnings,
    )


def from_environ(environ: Mapping[str, str]) -> Settings:
    """The settings of a worker process: its environment only."""
    return _validated(EnvironmentOnly(environ))


def to_environ(settings: Settings) -> dict[str, str]:
    """What differs from the defaults, as variables from which `from_environ` makes equal settings."""
    changed = ((key, value) for key, value in keys.values(settings).items() if value != keys.DEFAULTS[key])
    return {keys.variable(key): keys.as_variable(value) for key, value in changed}


@contextmanager
def _chosen(sources: Callable[[Model], tuple[Source, ...]]) -> Iterator[None]:
    token = CHOSEN_SOURCES.set(sources)
    try:
        yield
    finally:
        CHOSEN_SOURCES.reset(token)


def _validated(reading: EnvironmentOnly) -> Settings:
    settings = None
    found: dict[str, list[Finding]] = {}
    try:
        with _chosen(reading):
            settings = Settings()
    except ValidationError as error:
        found = messages.findings(error)
    weakest_first = reading.sources[::-1]
    given = {key: said for source in weakest_first for key, said in source.given.items()}
    if reading.strict is not None:
        found = _wrong_types(given, reading.strict) | found
    problems = [problem for source in weakest_first for problem in source.problems] + messages.lines(found, given)
    if problems or settings is None:
        raise ConfigError(*map(Redactor(secret_values(reading.merged())), problems))
    return settings


def _wrong_types(given: Mapping[str, Given], source: Source) -> dict[str, list[Finding]]:
    """A file has types: its "4" is no number. (In a variable everything is text.)"""
    won = {key: said.value for key, said in given.items() if said is source.given.get(key)}
    found: dict[str, list[Finding]] = {}
    for name, values in keys.nest(won).items():
        if name not in keys.SECTIONS:
            continue
        try:
            keys.SECTIONS[name].model_validate_json(json.dumps(values, default=str), strict=True)
        except ValidationError as error:
            found |= messages.findings(error, name)
    return {key: of_key for key, of_key in found.items() if messages.is_of_wrong_type(of_key)}
