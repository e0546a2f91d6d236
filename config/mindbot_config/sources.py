"""Where settings come from, and which source wins: flags, env file, environment, systemd credentials, TOML, defaults.

Each source is pydantic-settings' own, asked in this order by `Settings`; beside its values it remembers which keys it
gave and from where, for `config show` and for messages, and what it refuses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsError,
    TomlConfigSettingsSource,
)

from mindbot_config import keys, messages
from mindbot_config.errors import ConfigError
from mindbot_config.files.paths import find_toml
from mindbot_config.files.read_file import WITHIN, bounded, read_text, read_toml
from mindbot_config.messages import Given

NOT_IN_ENV_FILE = frozenset({"MINDBOT_CONFIG", "MINDBOT_ENV__FILE"})

Model = type[BaseSettings]


class Undecodable(str):
    """The text of a variable that should have been JSON."""

    __slots__ = ()


class Source(PydanticBaseSettingsSource):
    """What all sources have in common: the values that were given, with where each is from, and what was refused."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.given: dict[str, Given] = {}
        self.problems: list[str] = []
        super().__init__(*args, **kwargs)

    def where(self, key: str) -> str:
        """Where a key of this source comes from, for people: "file mindbot.toml"."""
        raise NotImplementedError

    def take(self, nested: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the values of known keys, with where each is from; refuse the others. Returns what was kept."""
        for key, value in keys.flatten(nested):
            where = self.where(key)
            if isinstance(value, Undecodable):
                self.problems.append(_undecodable(key, value, where))
            elif key in keys.SECTIONS:
                self.problems.append(f"{key} ({where}): must be a section with keys")
            elif key in keys.DEFAULTS:
                self.given[key] = Given(value, where)
            else:
                self.refuse_unknown(key, where)
        return keys.nest({key: given.value for key, given in self.given.items()})

    def refuse_unknown(self, key: str, where: str) -> None:
        self.problems.append(messages.unknown_key(key, where))


class Flags(Source, InitSettingsSource):
    """The flags that were given, nested as the settings are."""

    def __init__(self, model: Model, flags: Mapping[str, Any]) -> None:
        super().__init__(model, {})
        self.init_kwargs = self.take(flags)

    def where(self, key: str) -> str:
        return f"flag {keys.option(key)}"


class Toml(Source, TomlConfigSettingsSource):
    """The TOML file, whose tables `paths.find_toml` has read."""

    def __init__(self, model: Model, file: Path | None, table: Mapping[str, Any]) -> None:
        self.file, self.table = file, table
        super().__init__(model, None)

    def where(self, key: str) -> str:
        return f"file {self.file}"

    def _read_files(self, files: Any, deep_merge: bool = False) -> dict[str, Any]:
        return self.take(self.table)


class Variables(Source, EnvSettingsSource):
    """MINDBOT_* variables, and the credentials under their usual names; other variables are ignored."""

    environ: Mapping[str, str]

    def __call__(self) -> dict[str, Any]:
        self.given, self.problems = {}, []
        self.env_vars = {name.lower(): self.environ[name] for name in self.names()}
        said = super().__call__()
        credentials = {name: said.pop(name) for name in keys.CREDENTIALS & said.keys()}
        filled = {name: value for name, value in credentials.items() if value.strip()}
        nested = self.take(said)
        self.given |= {name: Given(value, self.where(name)) for name, value in filled.items()}
        for name in self._prefixed():
            key = _key(name)
            if not _is_setting(key) and _is_meant_as_one(key):
                self.refuse_unknown(key, self.where(key))
        return nested | filled

    def names(self) -> list[str]:
        """The variables that are settings or credentials."""
        settings = [name for name in self._prefixed() if _is_setting(_key(name))]
        return [*settings, *(keys.CREDENTIALS & self.environ.keys())]

    def variable_of(self, key: str) -> str:
        """The variable that a key was read from: its own, one of an inner part, or its whole section as JSON."""
        own = keys.variable(key)
        section = keys.variable(key.partition(".")[0])
        names = {name.upper(): name for name in self._prefixed()}
        inner = next((name for upper, name in names.items() if upper.startswith(f"{own}__")), None)
        return names.get(own) or inner or names.get(section) or own

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return Undecodable(value)

    def refuse_unknown(self, key: str, where: str) -> None:
        self.problems.append(messages.unknown_variable(key, where))

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {}  # only when the source is asked

    def _prefixed(self) -> list[str]:
        return sorted(name for name in self.environ if _has_prefix(name))


class Environment(Variables):
    """The inherited environment, which is not read from the process but given."""

    def __init__(self, model: Model, environ: Mapping[str, str]) -> None:
        self.environ = environ
        super().__init__(model)

    def where(self, key: str) -> str:
        return "environment" if key in keys.CREDENTIALS else f"environment {self.variable_of(key)}"


class EnvFileVariables(Variables, DotEnvSettingsSource):
    """The same from the env file, or from none."""

    def __init__(self, model: Model, file: Path | None) -> None:
        self.label = f"env file {file}"
        self.environ, self.warnings = ({}, ()) if file is None else self._read(file)
        super().__init__(model, file)

    def _read(self, file: Path) -> tuple[Mapping[str, str], tuple[str, ...]]:
        from mindbot_config.files.env_file import read_env_file

        found = read_env_file(file, self.label)
        return found.variables, found.warnings

    def __call__(self) -> dict[str, Any]:
        said = super().__call__()
        self.problems += [f"{self.label}: {name} cannot be set here" for name in NOT_IN_ENV_FILE & self.environ.keys()]
        return said

    def where(self, key: str) -> str:
        return self.label


class SystemdCredentials(Source, SecretsSettingsSource):
    """systemd's credentials (LoadCredential=, SetCredentialEncrypted=) of the credentials' usual names."""

    LABEL = "systemd credential"

    def __init__(self, model: Model, directory: str | None) -> None:
        """`directory` is $CREDENTIALS_DIRECTORY; where there is no such directory, there are no credentials."""
        super().__init__(model, directory if directory and bounded(partial(os.path.isdir, directory), WITHIN) else None)

    def where(self, key: str) -> str:
        return self.LABEL

    def __call__(self) -> dict[str, Any]:
        self.given = {}
        if self.secrets_dir is None:
            return {}
        try:
            return super().__call__()
        except SettingsError as error:
            raise (error.__cause__ if isinstance(error.__cause__, ConfigError) else error) from None

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = str(field.validation_alias)
        value = self._read(name) if name in keys.CREDENTIALS else ""
        if not value:
            return None, field_name, False
        self.given[name] = Given(value, self.LABEL)
        return value, name, False

    def _read(self, name: str) -> str:
        """The credential, empty where there is none."""
        label = f"{self.LABEL} {name}"
        try:
            text = read_text(label, Path(str(self.secrets_dir), name)).strip()
        except ConfigError as problem:
            if isinstance(problem.__cause__, FileNotFoundError | NotADirectoryError):
                return ""
            raise
        if "\0" in text:
            raise ConfigError(f"{label}: must not contain a NUL character")
        return text


# -- which of them there are, in the order of their precedence ---------------------------------------------------------


class EnvironmentOnly:
    """One source, for a process that is given everything in its environment."""

    strict: Source | None = None
    """A source whose values have types of their own."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.sources: tuple[Source, ...] = ()

    def __call__(self, model: Model) -> tuple[Source, ...]:
        """The sources in the order of their precedence; `Settings` asks for them."""
        self.sources = (Environment(model, self.environ),)
        return self.sources

    def merged(self) -> dict[str, str]:
        """The environment with all that these sources add to it."""
        return dict(self.environ)

    def where(self, key: str, otherwise: str) -> str:
        """Which source gave this key its value."""
        return next((source.given[key].source for source in self.sources if key in source.given), otherwise)


class AllSources(EnvironmentOnly):
    """All sources of the daemon and its commands."""

    def __init__(self, flags: Mapping[str, Any], config: Path | None, environ: Mapping[str, str]) -> None:
        super().__init__(environ)
        self.flags = flags
        self.file, self.table = find_toml(environ) if config is None else (config, read_toml(config))

    def __call__(self, model: Model) -> tuple[Source, ...]:
        """Flags win over the env file, that over the environment, over systemd's credentials, over the TOML file."""
        flags, toml = Flags(model, self.flags), Toml(model, self.file, self.table)
        environment = Environment(model, self.environ)
        environment()
        self.env_file = EnvFileVariables(model, _env_file_of(flags, environment, toml))
        environment.environ = {name: self.environ[name] for name in self.environ.keys() - self.env_file.environ.keys()}
        self.systemd = SystemdCredentials(model, self.environ.get("CREDENTIALS_DIRECTORY"))
        self.variables, self.strict = (self.env_file, environment), toml
        self.sources = (flags, self.env_file, environment, self.systemd, toml)
        return self.sources

    def merged(self) -> dict[str, str]:
        found = {**self.environ, **self.env_file.environ}
        from_systemd = {
            name: given.value for name, given in self.systemd.given.items() if not found.get(name, "").strip()
        }
        return found | from_systemd


def _env_file_of(*sources: Source) -> Path | None:
    """The env file that the first of these sources names."""
    value = next((source.given["env.file"].value for source in sources if "env.file" in source.given), None)
    return Path(value) if value and isinstance(value, str | Path) else None


def _undecodable(key: str, value: str, where: str) -> str:
    if key in keys.SECTIONS:  # whose text may hold a secret of any key
        return f"{key} ({where}): must be a JSON object of its keys"
    return f'{key} = {messages.quoted(key, value)} ({where}): must be a JSON list, such as ["a", "b"]'


def _has_prefix(name: str) -> bool:
    return name.upper().startswith(keys.PREFIX)


def _key(variable: str) -> str:
    return variable[len(keys.PREFIX) :].lower().replace("__", ".", 1)


def _is_setting(key: str) -> bool:
    return key in keys.DEFAULTS or key.partition(".")[0] in keys.SECTIONS


def _is_meant_as_one(key: str) -> bool:
    """Other MINDBOT_ variables are left alone: they belong to the supervisor and its workers."""
    return "." in key or key.replace("_", ".", 1) in keys.DEFAULTS
