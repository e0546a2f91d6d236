"""The one redactor: takes secrets out of everything that leaves a process of ours.

Three things are masked: known values in all their spellings, what stands under a name that says it is secret, and what
has the shape of a credential. Which variables are secret is decided in `mindbot_config.credentials`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import lru_cache
from typing import Any

from mindbot_config.output.spellings import LENGTH_MIN, fewest, spellings, texts
from mindbot_config.output.strict_json import DEPTH_MAX

MASK = "***"

SHORT_MIN = 4
"""A value of so many characters up to LENGTH_MIN is masked only where it stands alone, and only if it is no word."""
CUT_MIN = 500
"""Characters from which on a text may be one that was cut, with a part of a secret at its end or its beginning."""
EDGE_MIN = 6
"""Characters of a secret that are masked at such an end; fewer say nothing."""

_NO_WORD = re.compile(r"(?=.*[A-Za-z])(?=.*[^A-Za-z])\S+")
_FIELD = re.compile(
    r"(?:^|[_.\-\s])(?:(?:api|access|private|secret|signing|encryption)_?key|secret|passw(?:or)?d|passphrase|pwd|token"
    r"|credentials?|authorization|cookie)$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_SHAPES: tuple[tuple[str, re.Pattern[str], str], ...] = (
    # what must be in the text for the pattern to be worth a try (compared without case), the pattern, what is left
    ("eyj", re.compile(r"\beyJ[\w-]{8,512}+\.[\w-]{8,8192}+\.[\w-]*+"), MASK),  # a JSON web token
    ("sk-", re.compile(r"\bsk-[A-Za-z0-9_-]{16,}+"), MASK),  # OpenAI
    ("bearer ", re.compile(r"(?<=[Bb]earer )[\w.~+/-]{8,}+=*"), MASK),
    ("basic ", re.compile(r"(?i)(authorization\W{1,4}basic )[\w+/-]{4,}+=*"), rf"\1{MASK}"),
    ("token ", re.compile(r"(?<=Token )[0-9a-f]{32,}+"), MASK),  # Deepgram
    ("private key-", re.compile(r"(-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----)[^-]{1,16384}+"), rf"\1{MASK}"),
    ("://", re.compile(r"(://[^\s/:@\"'<>\\]{0,256}+:)[^\s/@\"'<>\\]{1,1024}+@"), rf"\1{MASK}@"),
    ("://", re.compile(r"://[\w-]{20,256}+@"), f"://{MASK}@"),  # a key in the place of the user
    (
        "=",  # password=… in a URL, a connection string, a command line or a printed environment
        re.compile(
            r"(?i)((?:api[_-]?key|(?:access|private|secret)[_-]?key|secret|token|passw(?:or)?d|passphrase|[_-]pass"
            r"|[_-]pwd|webhook_url)=[\"']?)[^&\s\"'\\,;]{4,}+"
        ),
        rf"\1{MASK}",
    ),
    (
        "--",
        re.compile(r"(?i)(--(?:[a-z0-9]{1,20}-){0,3}(?:api-?key|secret|token|passw(?:or)?d|passphrase) )[^\s\"']{4,}+"),
        rf"\1{MASK}",
    ),
)


class Redactor:
    """Masks `values` and whatever looks like a credential. Cheap where there is nothing to mask, as nearly always."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.values = frozenset(values)
        long = {value for value in self.values if len(value) >= LENGTH_MIN}
        self._spellings = sorted({each for value in long for each in spellings(value)}, key=len, reverse=True)
        self._signs = fewest(self._spellings)
        self._texts = sorted({each for value in long for each in texts(value)}, key=len, reverse=True)
        self._grams = {each[at : at + EDGE_MIN] for each in self._texts for at in range(len(each) - EDGE_MIN + 1)}
        self._numbers = {value for value in long if re.fullmatch(r"-?[0-9.]+", value)}
        short = [value for value in self.values if SHORT_MIN <= len(value) < LENGTH_MIN and _NO_WORD.fullmatch(value)]
        self._short = _alone(short) if short else None

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        if any(sign in text for sign in self._signs):
            for spelling in self._spellings:
                text = text.replace(spelling, MASK)
        if self._short is not None:
            text = self._short.sub(MASK, text)
        small = text.lower()
        for needed, pattern, left in _SHAPES:
            if needed in small:
                text = pattern.sub(left, text)
        return self._without_edges(text) if len(text) >= CUT_MIN else text

    def clean(self, value: Any) -> Any:
        """A JSON value without secrets: the same object where it holds none, else a copy.

        Only texts are masked, and numbers that are a secret as a whole, so what was JSON stays JSON.
        """
        if isinstance(value, str):
            return self(value)
        return self._masked(value, DEPTH_MAX) if self._finds(value) else value

    def _finds(self, value: Any) -> bool:
        found: list[str] = []
        for each in _leaves(value):
            if each is None:
                return True
            if isinstance(each, str):
                if len(each) >= SHORT_MIN:
                    found.append(each)
                    if len(each) >= CUT_MIN and self._without_edges(each) != each:
                        return True
            elif self._numbers and str(each) in self._numbers:
                return True
        whole = "\0".join(found)
        return self(whole) != whole

    def _masked(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self(value)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int | float):
            return MASK if self._numbers and str(value) in self._numbers else value
        if depth <= 0:
            return "…"
        if isinstance(value, Mapping):
            return {
                self(str(key)): MASK if is_secret_field(key, each) else self._masked(each, depth - 1)
                for key, each in value.items()
            }
        if isinstance(value, list | tuple | Set):
            return [self._masked(each, depth - 1) for each in value]
        return self(str(value))

    def _without_edges(self, text: str) -> str:
        """Where the text was cut in the middle of a secret: without the part that is left."""
        if text[-EDGE_MIN:] in self._grams:
            for each in self._texts:
                size = _overlap(text, each)
                if size:
                    text = text[:-size] + MASK
                    break
        if text[:EDGE_MIN] in self._grams:
            for each in self._texts:
                size = _overlap(each, text)
                if size:
                    text = MASK + text[size:]
                    break
        return text


def is_secret_field(name: object, value: object) -> bool:
    """Whether a field of a record is secret by its name, such as `api_key`, `accessToken` or `Authorization`."""
    return bool(value) and isinstance(value, str) and isinstance(name, str) and _is_secret_name(name[-64:])


@lru_cache(1024)
def _is_secret_name(name: str) -> bool:
    return _FIELD.search(_CAMEL.sub("_", name).lower()) is not None


def _leaves(value: Any) -> Iterator[str | int | float | None]:
    """Every text and number in a JSON value, keys included; None for what is secret by its name. Not recursive: a
    worker may nest its lines as deeply as it likes.
    """
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            for key, inner in each.items():
                yield str(key)
                if is_secret_field(key, inner) and inner != MASK:
                    yield None
            waiting += each.values()
        elif isinstance(each, list | tuple | Set):
            waiting += each
        elif isinstance(each, str | int | float):
            yield each
        elif each is not None:
            yield str(each)


def _alone(values: Iterable[str]) -> re.Pattern[str]:
    ordered = sorted(values, key=len, reverse=True)
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, ordered))})(?![A-Za-z0-9])")


def _overlap(left: str, right: str) -> int:
    """How many characters at the end of `left` are the beginning, but not the whole, of `right`; or 0."""
    for size in range(min(len(left), len(right)), EDGE_MIN - 1, -1):
        if left.endswith(right[:size]):
            return size
    return 0
