"""Takes secrets out of finished log lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

MASK = "***"
_SHAPES = re.compile(
    r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a JSON web token: LiveKit's access tokens
    r"|\bsk-[A-Za-z0-9_-]{16,}"  # an OpenAI key
    r"|(?<=Bearer )[\w.~+/-]{8,}=*"
    r"|(?<=Token )[0-9a-f]{32,}"  # a Deepgram key
    r"|(?<=access_token=)[^&\s\"]+"
)


class Redactor:
    """Masks the given values, in plain and in JSON spelling, and whatever has the shape of a credential."""

    def __init__(self, values: Iterable[str]) -> None:
        spellings = {spelling for value in values for spelling in (value, json.dumps(value)[1:-1])}
        ordered = sorted(filter(None, spellings), key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, line: str) -> str:
        if self._values is not None:
            line = self._values.sub(MASK, line)
        return _SHAPES.sub(MASK, line)
