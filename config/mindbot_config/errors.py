"""The one way in which settings are refused."""

from __future__ import annotations


class ConfigError(ValueError):
    """Settings that cannot be used; `str()` is one plain line, safe for a terminal and without secrets."""

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(_plain(problem) for problem in problems)
        super().__init__("; ".join(self.problems))


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
