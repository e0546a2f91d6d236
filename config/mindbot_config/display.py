"""What `config show` prints."""

from __future__ import annotations

from mindbot_config import keys
from mindbot_config.credentials import NAMES, Credentials, secret_values
from mindbot_config.sources import Loaded
from mindbot_config.values import redact, shown


def show(loaded: Loaded, credentials: Credentials) -> list[tuple[str, str, str]]:
    """Key, effective value and source of every setting, then of every credential; no secret is among them."""
    secrets = secret_values(loaded.environ)
    values = keys.values(loaded.settings)
    rows = [(key, redact(shown(key, value), secrets), loaded.sources[key]) for key, value in values.items()]
    for name in NAMES:
        length = len(credentials.get(name))
        state = f"set, {length} characters" if length else "not set"
        rows.append((name, state, loaded.credential_sources.get(name, "")))
    return rows
