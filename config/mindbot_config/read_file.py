"""The files that settings are read from; what cannot be read is refused with the file and the line."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindbot_config.errors import ConfigError

SEARCHED = (Path("mindbot.toml"), Path("/etc/mindbot/mindbot.toml"))
"""Where a TOML file is looked for when none is named."""


def find_toml(environ: Mapping[str, str]) -> tuple[Path | None, dict[str, Any]]:
    """The file named by MINDBOT_CONFIG, or the first that exists of those searched; and what it says."""
    if named := environ.get("MINDBOT_CONFIG"):
        return Path(named), read_toml(Path(named))
    for path in SEARCHED:
        try:
            return path, _parse_toml(path, path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as problem:
            raise ConfigError(f"file {path}: cannot be read: {problem.strerror}") from problem
    return None, {}


def read_toml(path: Path) -> dict[str, Any]:
    return _parse_toml(path, _read(f"file {path}", path))


def read_env(path: Path, label: str) -> dict[str, str]:
    """The NAME=value lines of an env file, $NAME not replaced. A line's text is never shown: it may be a secret."""
    from dotenv.parser import parse_stream

    found: dict[str, str] = {}
    bad: list[int] = []
    for binding in parse_stream(io.StringIO(_text(label, _read(label, path)))):
        text = binding.original.string
        if binding.error or (binding.key is not None and binding.value is None) or "\0" in text:
            blank = text[: len(text) - len(text.lstrip())]
            bad.append(binding.original.line + blank.count("\n"))
        elif binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
    if bad:
        raise ConfigError(*(f"{label}, line {line}: must be NAME=value, a comment or empty" for line in bad))
    return found


def read_credentials(environ: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """systemd credentials (LoadCredential=, SetCredentialEncrypted=) of these names."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    found = {}
    for name in names if directory else ():
        path = Path(directory or "", name)
        label = f"systemd credential {name}"
        try:
            found[name] = _text(label, path.read_bytes()).strip()
        except FileNotFoundError:
            continue
        except OSError as problem:
            raise ConfigError(f"{label}: cannot be read: {problem.strerror}") from problem
    return found


def _read(label: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ConfigError(f"{label}: cannot be read: {problem.strerror}") from problem
    except ValueError:
        raise ConfigError(f"{label}: must be the path of a file") from None


def _text(label: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as problem:
        line = content[: problem.start].count(b"\n") + 1
        raise ConfigError(f"{label}, line {line}: must be UTF-8 text") from None


def _parse_toml(path: Path, content: bytes) -> dict[str, Any]:
    import tomllib

    text = _text(f"file {path}", content)
    try:
        return tomllib.loads(text)
    except ValueError as problem:
        what, at, where = str(problem).removesuffix(")").partition(" (at ")
        if not at:
            raise ConfigError(f"file {path}: cannot be read as TOML: a number is too long") from None
        raise ConfigError(f"file {path}, {where}: cannot be read as TOML: {what[:1].lower()}{what[1:]}") from None
    except RecursionError:
        raise ConfigError(f"file {path}: cannot be read as TOML: nested too deeply") from None
