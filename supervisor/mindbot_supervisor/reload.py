"""What a reload changes: new settings against the ones in force, and what has to follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mindbot_config.keys import values
from mindbot_config.sources import Loaded

from .core.model import Reason
from .runtime.launch import Launch

FIXED = frozenset({"socket", "runtime_dir", "state_dir", "http.listen", "log.file", "log.format", "pool.command"})
"""Settings that only a restart of the daemon changes."""
SUPERVISORS_OWN = tuple(
    f"MINDBOT_{section}__" for section in ("LIMITS", "RESTART", "RECOVERY", "USAGE", "HTTP", "NOTIFY")
)
SUPERVISORS_KEYS = frozenset(
    {"MINDBOT_POOL__WORKERS", "MINDBOT_POOL__START_TIMEOUT", "MINDBOT_POOL__STOP_TIMEOUT", "MINDBOT_ENV__WATCH"}
)
"""Variables that a worker does not look at: a change of theirs needs no new worker."""
WORKERS_TOO = frozenset(f"MINDBOT_LIMITS__{name}" for name in ("BEAT_INTERVAL", "MAX_DISCONNECTS", "DISCONNECT_WINDOW"))


@dataclass(frozen=True, slots=True)
class Difference:
    """Keys of settings that changed, names of variables that did, and why workers must be replaced, if they must."""

    keys: tuple[str, ...]
    variables: tuple[str, ...]
    not_applied: tuple[str, ...]
    roll: Reason | None

    def fields(self) -> dict[str, object]:
        """For the log: names only, never a value."""
        found: dict[str, object] = {"changed": [*self.keys, *self.variables]}
        if self.not_applied:
            found["not_applied"] = list(self.not_applied)
            found["detail"] = "these take effect when the daemon is restarted"
        return found


def difference(old: Loaded, new: Loaded, before: Launch, after: Launch) -> Difference:
    """What changed between two loads, and between what their workers are started with."""
    then, now = values(old.settings), values(new.settings)
    keys = tuple(key for key in then if then[key] != now[key])
    changed = _changed(before.environ, after.environ)
    concerns = [name for name in changed if _concerns_workers(name)]
    roll = None
    if concerns or list(before.command) != list(after.command):
        ours = any(name.startswith("MINDBOT_") for name in concerns) or list(before.command) != list(after.command)
        roll = Reason.CONFIG if ours else Reason.ENV
    variables = tuple(name for name in concerns if not name.startswith("MINDBOT_"))
    return Difference(keys, variables, tuple(key for key in keys if key in FIXED), roll)


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> Iterable[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _concerns_workers(name: str) -> bool:
    if name in WORKERS_TOO:
        return True
    return not name.startswith(SUPERVISORS_OWN) and name not in SUPERVISORS_KEYS
