"""What `config show` prints: every key with its effective value and the source that gave it, secrets masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mindbot_config import keys
from mindbot_config.credentials import NAMES, Credentials, secret_values
from mindbot_config.load import Loaded
from mindbot_config.messages import shown
from mindbot_config.output.redaction import Redactor


class Resolved(NamedTuple):
    """What an "auto" stands for here, and where that number came from ("memory limit of the cgroup /x, 512 MiB")."""

    value: float
    origin: str


def show(
    loaded: Loaded, credentials: Credentials, resolved: Mapping[str, Resolved] | None = None
) -> list[tuple[str, str, str]]:
    """Key, effective value and source of every setting, then of every credential; no secret is among them."""
    values = keys.values(loaded.settings)
    redact = Redactor(secret_values(loaded.environ, values))
    rows = []
    for key, value in values.items():
        text, source = redact(shown(key, value)), loaded.sources[key]
        if value == "auto" and resolved and key in resolved:
            text = f"{text} = {round(resolved[key].value, 1):g}"
            source = f"{source}; {resolved[key].origin}"
        rows.append((key, text, source))
    for name in NAMES:
        length = len(credentials.get(name))
        state = f"set, {length} characters" if length else "not set"
        rows.append((name, state, loaded.credential_sources.get(name, "")))
    return rows
