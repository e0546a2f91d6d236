"""The settings from all their sources: flags, then MINDBOT_* variables, then the TOML file, then the defaults."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mindbot_config import keys, messages, read_file
from mindbot_config.credentials import NAMES, WEBHOOK_SECRET, secret_values
from mindbot_config.errors import ConfigError
from mindbot_config.layers import Given, Layer, from_flags, from_table, from_variables
from mindbot_config.settings import Settings
from mindbot_config.values import as_variable, redact

_NOT_IN_ENV_FILE = frozenset({"MINDBOT_CONFIG", "MINDBOT_ENV__FILE"})


@dataclass(frozen=True)
class Loaded:
    """The effective settings, and where each comes from."""

    settings: Settings
    sources: Mapping[str, str]
    """Dotted key -> "flag --workers", "environment MINDBOT_POOL__WORKERS", "env file PATH", "file PATH", "default"."""
    credential_sources: Mapping[str, str]
    """Name of each credential that is set -> "environment", "env file PATH" or "systemd credential"."""
    environ: Mapping[str, str] = field(repr=False)
    """The environment for the workers, from which `from_environ` makes equal settings."""
    file: Path | None = None
    """The TOML file that was read."""


def load(flags: Mapping[str, Any], config: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Read all sources; every failure is a `ConfigError`. `flags` holds only the flags that were given, nested."""
    file, table = read_file.find_toml(environ) if config is None else (config, read_file.read_toml(config))
    flag_layer, toml_layer, inherited = from_flags(flags), from_table(table, f"file {file}"), from_variables(environ)

    env_file = _env_file(flag_layer, inherited, toml_layer)
    label = f"env file {env_file}"
    added = {} if env_file is None else read_file.read_env(env_file, label)
    env_layer = from_variables(added, label)
    env_layer.problems.extend(f"{label}: {name} cannot be set here" for name in _NOT_IN_ENV_FILE & added.keys())
    inherited = from_variables({name: value for name, value in environ.items() if name not in added})

    merged, credential_sources = _merge(environ, added, label)
    layers = [toml_layer, inherited, env_layer, flag_layer]
    settings, given = _validate(layers, secret_values(merged), strict=toml_layer)
    ours = inherited.variables | env_layer.variables
    return Loaded(
        settings=settings,
        sources={key: given[key].source if key in given else "default" for key in keys.KEYS},
        credential_sources=credential_sources,
        environ={name: value for name, value in merged.items() if name not in ours} | to_environ(settings),
        file=file,
    )


def from_environ(environ: Mapping[str, str]) -> Settings:
    """The settings of a worker process: its environment only."""
    return _validate([from_variables(environ)], secret_values(environ))[0]


def to_environ(settings: Settings) -> dict[str, str]:
    """What differs from the defaults, as variables from which `from_environ` makes equal settings."""
    changed = ((key, value) for key, value in keys.values(settings).items() if value != keys.DEFAULTS[key])
    return {keys.variable(key): as_variable(value) for key, value in changed}


def _env_file(*layers: Layer) -> Path | None:
    """The env file that the first of these layers names."""
    value = next((layer.given["env.file"].value for layer in layers if "env.file" in layer.given), None)
    return Path(value) if value and isinstance(value, str | Path) else None


def _merge(environ: Mapping[str, str], added: Mapping[str, str], label: str) -> tuple[dict[str, str], dict[str, str]]:
    """The environment with what the env file adds and systemd's credentials; and where each credential is from."""
    merged = {**environ, **added}
    found = read_file.read_credentials(environ, (*NAMES, WEBHOOK_SECRET))
    filled = {name: value for name, value in found.items() if not merged.get(name)}
    merged |= filled
    sources = {}
    for name in NAMES:
        if merged.get(name):
            sources[name] = "systemd credential" if name in filled else label if name in added else "environment"
    return merged, sources


def _validate(
    layers: Iterable[Layer], secrets: Iterable[str], strict: Layer | None = None
) -> tuple[Settings, dict[str, Given]]:
    """The settings that these layers make, later ones over earlier ones, and what was given for them."""
    given: dict[str, Given] = {}
    problems: list[str] = []
    for layer in layers:
        given |= layer.given
        problems += layer.problems
    found = _wrong_types(given, strict) if strict else {}
    settings = None
    try:
        settings = Settings.model_validate(keys.nest({key: said.value for key, said in given.items()}))
    except ValidationError as error:
        found |= messages.findings(error)
    problems += messages.lines(found, given)
    if problems or settings is None:
        raise ConfigError(*(redact(problem, secrets) for problem in problems))
    return settings, given


def _wrong_types(given: Mapping[str, Given], layer: Layer) -> dict[str, list[messages.Finding]]:
    """A file has types: its "4" is no number. (In a variable everything is text.)"""
    values = {key: said.value for key, said in given.items() if said is layer.given.get(key)}
    try:
        Settings.model_validate_json(json.dumps(keys.nest(values), default=str), strict=True)
    except ValidationError as error:
        return {key: found for key, found in messages.findings(error).items() if messages.is_of_wrong_type(found)}
    return {}
