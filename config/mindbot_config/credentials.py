"""The five credentials: where they are named, whether they fit, and what of the environment is secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from mindbot_config.errors import ConfigError
from mindbot_config.sections.base import split_url

LIVEKIT_NAMES = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
NAMES = (*LIVEKIT_NAMES, "OPENAI_API_KEY", "DEEPGRAM_API_KEY")
WEBHOOK_SECRET = "MINDBOT_WEBHOOK_SECRET"  # noqa: S105
"""What notices are signed with; the daemon's own, no worker gets it."""
SECRET_NAMES = frozenset(NAMES) - {"LIVEKIT_URL"}

_SECRET = re.compile(
    r"(^|_)(API_?KEY|KEY|SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|WEBHOOK_URL)$", re.IGNORECASE
)
_SECRET_LENGTH_MIN = 8
_LIVEKIT_SCHEMES = frozenset({"ws", "wss", "http", "https"})


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


def secret_values(environ: Mapping[str, str]) -> frozenset[str]:
    """The values that must not appear in a log. Shorter ones would hide half of the text, and are no secrets."""
    return frozenset(
        value.strip()
        for name, value in environ.items()
        if _SECRET.search(name) and len(value.strip()) >= _SECRET_LENGTH_MIN
    )
