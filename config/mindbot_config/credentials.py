"""The credentials: how they are named and checked; and which texts in an environment, settings or a command are secret.

`secret_values` is the one list of what may never be shown; `output.redaction.Redactor` masks it in whatever leaves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from mindbot_config.errors import ConfigError
from mindbot_config.output.redaction import MASK
from mindbot_config.sections.base import split_url

LIVEKIT_NAMES = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
NAMES = (*LIVEKIT_NAMES, "OPENAI_API_KEY", "DEEPGRAM_API_KEY")
WEBHOOK_SECRET = "MINDBOT_WEBHOOK_SECRET"  # noqa: S105
"""What notices are signed with; the daemon's own, no worker gets it."""
SECRET_NAMES = frozenset(NAMES) - {"LIVEKIT_URL"}

_WORDS = (
    "API_?KEYS?", "KEY", "SECRETS?", "TOKENS?", "PASSWORDS?", "PASSWD", "PASSPHRASE", "PASS", "(?<=_)PWD",
    "CREDENTIALS?", "WEBHOOK_URL", "AUTHORIZATION",
)  # fmt: skip
_ENDINGS = r"\d+|OLD|NEW|DEV|TEST|STAGING|PROD|LIVE|BASE64|B64|JSON"
_SECRET = re.compile(rf"(^|[_.])({'|'.join(_WORDS)})(_({_ENDINGS}))?$", re.IGNORECASE)
"""Names whose whole value is secret. (PWD and OLDPWD are directories.)"""
_COMMANDS = frozenset({"MINDBOT_POOL__COMMAND", "POOL.COMMAND"})
_LENGTH_MIN = 8
"""Characters of a value that is secret by its variable's name: a shorter one would hide half of the text."""
_PASSWORD_LENGTH_MIN = 6
"""The same for a password within a URL or a command."""
_NO_WORD = r"(?=.*[A-Za-z])(?=.*[^A-Za-z])\S{4,}"
"""A shorter one is secret if it is no word and no number: it is masked where it stands alone."""
_TOKEN_LENGTH_MIN = 20
"""Characters from which on a user's name in a URL, or a part of its path, is taken for a token."""
_LIVEKIT_SCHEMES = frozenset({"ws", "wss", "http", "https"})

# Patterns that few starts need: `re` compiles and keeps them when they are first used.
_USER = r"(?<=://)(?:[^\s/?#\"']*|[^\s/:@\"']*:(?!\d{1,5}[/?#])[^\s@\"']*)(?=@)"
"""user:pass of a URL, as far as its last @; a password may have a slash, but is no port."""
_QUERY = r"(?i)(?<=[?&;])(?:[\w.-]*(?:key|secret|token|password|passwd|pwd|signature|sig|credential))=([^&#\s\"']+)"
_FLAG = (
    r"(?i)(?<![\w-])--?(?:[\w-]*[-_])?"
    r"(?:api_?key|key|secret|token|password|passwd|passphrase|pass|pwd|credentials?)(?:=|\s+)"
    r"(\"[^\"]*\"|'[^']*'|[^\s\"'-][^\s\"']*)"
)
_ASSIGNMENT = r"(?<!\S)[\"']?([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|[^\s\"']+)"
_HEADER = r"(?i)(?:bearer|token|basic)\s+([\w.~+/=-]{8,})"


@dataclass(frozen=True, repr=False)
class Credentials:
    """What LiveKit, OpenAI and Deepgram are reached with; an empty one is not set."""

    livekit_url: str = ""
    livekit_api_key: str = ""
    livekit_api_secret: str = ""
    openai_api_key: str = ""
    deepgram_api_key: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        return cls(**{name.lower(): environ.get(name, "").strip() for name in NAMES})

    def get(self, name: str) -> str:
        """The credential of an environment variable's name."""
        return str(getattr(self, name.lower()))

    @property
    def has_livekit(self) -> bool:
        return all(self.get(name) for name in LIVEKIT_NAMES)

    def check(self) -> None:
        """Refuse what cannot work; that a credential is not set at all is no error here."""
        problems = [
            f"{name}: must be plain ASCII without white space"
            for name in NAMES
            if not re.fullmatch(r"[\x21-\x7e]*", self.get(name))
        ]
        if self.livekit_url and not split_url(self.livekit_url, _LIVEKIT_SCHEMES):
            problems.append("LIVEKIT_URL: must be a ws://, wss://, http:// or https:// URL with a host")
        missing = [name for name in LIVEKIT_NAMES if not self.get(name)]
        if 0 < len(missing) < len(LIVEKIT_NAMES):
            present = [name for name in LIVEKIT_NAMES if name not in missing]
            verb = "is" if len(present) == 1 else "are"
            problems.append(f"{' and '.join(missing)}: must be set too, as {' and '.join(present)} {verb} set")
        if problems:
            raise ConfigError(*problems)

    def __repr__(self) -> str:
        states = ", ".join(f"{name.lower()}={'set' if self.get(name) else 'not set'}" for name in NAMES)
        return f"Credentials({states})"


# -- what is secret ----------------------------------------------------------------------------------------------------


def secret_values(environ: Mapping[str, str], settings: Mapping[str, Any] | None = None) -> frozenset[str]:
    """Every text in these variables and settings (by dotted keys) that must not be shown: whole values where the name
    says so, and passwords and tokens within others.
    """
    texts = {key: value for key, value in (settings or {}).items() if isinstance(value, str)}
    named = (*environ.items(), *texts.items())
    return frozenset(secret for name, value in named for secret in secrets_of(name, value))


def secrets_of(name: str, value: str) -> frozenset[str]:
    """The secret texts of one variable or setting: its value where the name says so, and what a URL or a command has
    in it.
    """
    value = value.strip()
    found = set(_in_urls(value))
    if is_secret_name(name) and _is_worth(value, _LENGTH_MIN):
        found.add(value)
        if "://" in value:
            found |= set(_in_path(value))
    if name.upper() in _COMMANDS:
        found |= {secret for secret in _in_command(value) if _is_worth(secret, _PASSWORD_LENGTH_MIN)}
    return frozenset(found)


def _is_worth(secret: str, length_min: int) -> bool:
    """Whether it can be masked without hiding half of the text."""
    return len(secret) >= length_min or re.fullmatch(_NO_WORD, secret) is not None


def is_secret_name(name: str) -> bool:
    """Whether a variable or setting of this name holds a secret: *_KEY, *_TOKEN, *_PASSWORD, *_PWD, *_KEY_OLD …"""
    return _SECRET.search(name) is not None


def mask_command(text: str) -> str:
    """A command line without its secrets: what follows `--token` and the like, NAME=value of such names, URLs."""
    for secret in sorted(_in_command(text), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return mask_urls(text)


def mask_urls(text: str) -> str:
    """The text without user:pass@ and secret parameters of the URLs in it."""
    if "://" not in text:
        return text
    text = re.sub(_USER, MASK, text)
    return re.sub(_QUERY, lambda found: found[0].removesuffix(found[1]) + MASK, text)


def _in_urls(value: str) -> Iterator[str]:
    """Passwords of user:pass@, as they are written and as they are meant, and secret parameters."""
    if "://" not in value:
        return
    for found in re.finditer(_USER, value):
        user, colon, password = found[0].partition(":")
        secret = password if colon else user if len(user) >= _TOKEN_LENGTH_MIN else ""
        yield from (each for each in {secret, unquote(secret)} if _is_worth(each, _PASSWORD_LENGTH_MIN))
    for found in re.finditer(_QUERY, value):
        yield from (each for each in {found[1], unquote(found[1])} if _is_worth(each, _PASSWORD_LENGTH_MIN))


def _in_path(url: str) -> Iterator[str]:
    """The path of a URL that is itself a secret, such as a webhook's, and each part of it that looks like a token."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    path = (f"{parts.path}?{parts.query}" if parts.query else parts.path).lstrip("/")
    if _is_worth(path, _LENGTH_MIN):
        yield path
    for part in parts.path.split("/"):
        drawn = any(each.isdigit() for each in part) and any(each.isalpha() for each in part)
        if len(part) >= _TOKEN_LENGTH_MIN or (drawn and len(part) >= _LENGTH_MIN):
            yield part


def _in_command(text: str) -> set[str]:
    found = {each[1] for each in (*re.finditer(_FLAG, text), *re.finditer(_HEADER, text))}
    found |= {each[2] for each in re.finditer(_ASSIGNMENT, text) if is_secret_name(each[1])}
    return {bare for each in found if (bare := each.strip("\"'"))}
