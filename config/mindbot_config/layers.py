"""What one source says: flags, a file, or variables; each value with the name of where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from mindbot_config import keys
from mindbot_config.credentials import NAMES
from mindbot_config.settings import Settings
from mindbot_config.values import quoted

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings


@dataclass(frozen=True)
class Given:
    """A value that somebody gave, and where."""

    value: Any
    source: str


@dataclass
class Layer:
    """The keys that one source gives, and what is wrong with the others."""

    given: dict[str, Given] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    variables: set[str] = field(default_factory=set)
    """The environment variables that are settings."""

    def add(self, nested: Mapping[str, Any], source: Callable[[str], str], *, as_variables: bool = False) -> None:
        for key, value in keys.flatten(nested):
            where = source(key)
            if key in keys.SECTIONS:
                self.problems.append(f"{key} ({where}): must be a section with keys")
            elif key in keys.DEFAULTS:
                self.given[key] = Given(value, where)
            else:
                self.problems.append(_unknown_variable(key, where) if as_variables else _unknown_key(key, where))


def from_flags(flags: Mapping[str, Any]) -> Layer:
    layer = Layer()
    layer.add(flags, lambda key: f"flag {keys.option(key)}")
    return layer


def from_table(table: Mapping[str, Any], label: str) -> Layer:
    layer = Layer()
    layer.add(table, _always(label))
    return layer


def from_variables(environ: Mapping[str, str], label: str | None = None) -> Layer:
    """The MINDBOT_* variables; each is read alone, so that it is known where a value comes from."""
    layer = Layer()
    for name in sorted(name for name in environ if name.upper().startswith(keys.PREFIX)):
        where = label or f"environment {name}"
        try:
            nested = _parse(name, environ[name])
        except ValueError as problem:
            layer.problems.append(f"{problem.args[0]} ({where}): {problem.args[1]}")
            continue
        if nested:
            layer.variables.add(name)
            layer.add(nested, _always(where), as_variables=True)
        elif key := _meant(name):
            layer.problems.append(_unknown_variable(key, where))
    return layer


def _parse(name: str, value: str) -> dict[str, Any]:
    """What pydantic-settings makes of one variable: nothing, when it is no setting."""
    key = _key(name)
    if key.partition(".")[0] not in keys.SECTIONS:  # it would say the same, and takes a tenth of a second to load
        return {key: value} if key in Settings.model_fields else {}
    from pydantic_settings import EnvSettingsSource, SettingsError

    # the source asks its class for fields and config only, and BaseSettings would read the environment by itself
    model = cast("type[BaseSettings]", Settings)
    source = EnvSettingsSource(model, env_prefix=keys.PREFIX, env_nested_delimiter="__")
    source.env_vars = {name.lower(): value}
    try:
        return source()
    except (SettingsError, RecursionError):
        if key in keys.SECTIONS:  # whose text may hold a secret of any key
            raise ValueError(key, "must be a JSON object of its keys") from None
        raise ValueError(f"{key} = {quoted(key, value)}", 'must be a JSON list, such as ["a", "b"]') from None


def _always(where: str) -> Callable[[str], str]:
    return lambda key: where


def _key(name: str) -> str:
    return name[len(keys.PREFIX) :].lower().replace("__", ".", 1)


def _meant(name: str) -> str | None:
    """The key that a variable outside of all sections was meant to be, if it was meant to be one.

    Other MINDBOT_ variables are left alone: they belong to the supervisor and its workers.
    """
    key = _key(name)
    return key if "." in key or key.replace("_", ".", 1) in keys.DEFAULTS else None


def _unknown_key(key: str, where: str) -> str:
    if key.rpartition(".")[2].upper() in NAMES:
        return f"{where}: unknown key {key}; credentials belong in the environment or the env file"
    meant = keys.suggest(key)
    return f"{where}: unknown key {key}" + (f"; did you mean {meant}?" if meant else "")


def _unknown_variable(key: str, where: str) -> str:
    name = keys.variable(key)
    meant = keys.suggest(key if "." in key else key.replace("_", ".", 1))
    what = "unknown setting" if where.endswith(name) else f"unknown setting {name}"
    return f"{where}: {what}" + (f"; did you mean {keys.variable(meant)}?" if meant else "")
