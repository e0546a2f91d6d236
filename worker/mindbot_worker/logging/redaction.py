"""Secrets never leave in a log line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from mindbot_config.credentials import secret_values

MASK = "[redacted]"
_TOO_SHORT = 4
"""A shorter value would mask half the log rather than hide anything."""


class Redactor:
    """Masks known values wherever they occur in a text, as they are or as JSON writes them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= _TOO_SHORT for form in _forms(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __call__(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(MASK, text)


def redactor(environ: Mapping[str, str]) -> Redactor:
    """For the secrets that `environ` holds."""
    return Redactor(secret_values(environ))


def _forms(secret: str) -> set[str]:
    return {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
