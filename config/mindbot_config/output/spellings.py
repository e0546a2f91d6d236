"""Every way in which a secret can be written: as it is, in JSON, in a URL, in base64, line by line."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

LENGTH_MIN = 8
"""A part of a secret that is shorter than this is not looked for by itself: it would be found in ordinary words."""
NESTED = 3
"""JSON within JSON within JSON: a worker's line in a line of the daemon's, in an answer to a command."""

_PEM = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]+-----")
_SECRET_IN_JSON = re.compile(r"key|secret|token|password", re.IGNORECASE)


def spellings(secret: str) -> set[str]:
    """All of one secret, the shorter ones of its parts left out."""
    found = {each for whole in _wholes(secret) for each in _encodings(whole)}
    for part in _parts(secret):
        found |= set(_texts(part))
    return {each for each in found if len(each) >= LENGTH_MIN}


def texts(secret: str) -> set[str]:
    """Only those that can stand at the end of a text which was cut: the secret as it is, and as JSON writes it."""
    found = {each for part in _parts(secret) for each in (part, *_json(part, 1))}
    return {each for each in found if len(each) >= LENGTH_MIN}


def fewest(found: Iterable[str]) -> list[str]:
    """Those of which at least one is in every text that has any of them."""
    kept: list[str] = []
    for each in sorted(found, key=len):
        if not any(shorter in each for shorter in kept):
            kept.append(each)
    return kept


def _wholes(secret: str) -> Iterator[str]:
    """The secret, and what is secret in it if it is JSON."""
    yield secret
    for inner in _inner(secret):
        yield from _wholes(inner)


def _parts(secret: str) -> Iterator[str]:
    """Each of them, and of one with several lines each line."""
    for whole in _wholes(secret):
        yield whole
        lines = [line.strip() for line in whole.splitlines()]
        if len(lines) > 1:
            yield "\r\n".join(lines)
            yield from (line for line in lines if len(line) >= LENGTH_MIN and not _PEM.fullmatch(line))


def _inner(secret: str) -> list[str]:
    """The secret values of a JSON object, as in the key file of a cloud service."""
    if not secret.lstrip().startswith("{"):
        return []
    try:
        found = json.loads(secret)
    except (ValueError, RecursionError):
        return []
    values = found.items() if isinstance(found, dict) else ()
    return [value for name, value in values if isinstance(value, str) and _SECRET_IN_JSON.search(name)]


def _texts(part: str) -> Iterator[str]:
    yield part
    yield from _json(part, NESTED)
    yield repr(part)[1:-1]
    yield repr(_bytes(part))[2:-1]
    for safe in ("", "/"):
        encoded = quote(part, safe=safe, errors="surrogateescape")
        yield encoded
        yield _lower_hex(encoded)
    encoded = quote_plus(part, errors="surrogateescape")
    yield encoded
    yield _lower_hex(encoded)


def _json(part: str, levels: int) -> Iterator[str]:
    """Written into JSON once, and that again: with and without escapes for what is not ASCII."""
    for ascii_only in (True, False):
        text = part
        for _ in range(levels):
            text = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
            yield text
            yield text.replace("/", r"\/")


def _encodings(part: str) -> Iterator[str]:
    """Base64, also where the secret begins in the middle of three bytes, and hexadecimal."""
    data = _bytes(part)
    yield data.hex()
    yield data.hex().upper()
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data).decode()
        # the first and the last character may hold bits of what stands beside the secret
        whole = text[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]
        yield whole
        yield whole.translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")


def _lower_hex(encoded: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda found: found.group().lower(), encoded)


def _bytes(part: str) -> bytes:
    return part.encode(errors="surrogateescape") if _fits(part) else part.encode(errors="replace")


def _fits(part: str) -> bool:
    try:
        part.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
