"""All settings, as one frozen model that is passed whole, and what of them cannot work together.

By themselves they read nothing: `sources.py` says where from, and in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from mindbot_config.sections.base import OptionalPath
from mindbot_config.sections.env import Env
from mindbot_config.sections.http import Http
from mindbot_config.sections.limits import Limits
from mindbot_config.sections.log import Log
from mindbot_config.sections.notify import Notify
from mindbot_config.sections.pool import Pool
from mindbot_config.sections.recovery import Recovery
from mindbot_config.sections.restart import Restart
from mindbot_config.sections.usage import Usage
from mindbot_config.sections.voice import MIN_SILENCE_OF_MODEL, Voice
from mindbot_config.sections.worker import Worker

Sources = tuple[PydanticBaseSettingsSource, ...]
CHOSEN_SOURCES: ContextVar[Callable[[type[BaseSettings]], Sources] | None] = ContextVar("sources", default=None)
"""What makes the sources of the settings that are being read now; None: what they are called with is all."""


def _credential(name: str) -> Any:
    return Field(default="", validation_alias=name, exclude=True, repr=False)


class Settings(BaseSettings):
    """Every setting of mindbot-supervisor; `Settings()` is all defaults and reads nothing."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, env_prefix="MINDBOT_", env_nested_delimiter="__"
    )

    socket: OptionalPath = None
    """The control socket. Empty: control.sock in `runtime_dir`. At most 107 bytes long."""
    runtime_dir: OptionalPath = None
    """Directory for what lives as long as the daemon: socket, call journals. Empty: $RUNTIME_DIRECTORY (systemd), or
    /run/mindbot for root, else $XDG_RUNTIME_DIR/mindbot, else /tmp/mindbot-UID; beside `socket` where only that is
    given. Give each of several daemons on one host its own."""
    state_dir: OptionalPath = None
    """Directory for what outlives the daemon: its journal, support files. Empty: $STATE_DIRECTORY (systemd), or
    /var/lib/mindbot for root, else $XDG_STATE_HOME/mindbot, else ~/.local/state/mindbot."""

    pool: Pool = Pool()
    limits: Limits = Limits()
    restart: Restart = Restart()
    recovery: Recovery = Recovery()
    voice: Voice = Voice()
    usage: Usage = Usage()
    log: Log = Log()
    http: Http = Http()
    notify: Notify = Notify()
    env: Env = Env()
    worker: Worker = Worker()

    livekit_url: str = _credential("LIVEKIT_URL")
    """Where LiveKit is: wss://... (or ws://, http://, https://). Set all three of LIVEKIT_, or none: without them the
    daemon runs on local stand-ins."""
    livekit_api_key: str = _credential("LIVEKIT_API_KEY")
    """The key of the LiveKit project (`livekit-server generate-keys`, or LiveKit Cloud)."""
    livekit_api_secret: str = _credential("LIVEKIT_API_SECRET")
    """The secret of that key."""
    openai_api_key: str = _credential("OPENAI_API_KEY")
    """For the model that answers and the voice that speaks."""
    deepgram_api_key: str = _credential("DEEPGRAM_API_KEY")
    """For the recognition of speech."""
    webhook_secret: str = _credential("MINDBOT_WEBHOOK_SECRET")
    """What the notices of [notify] are signed with; no worker gets it."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> Sources:
        """Those of `sources.load` or `sources.from_environ`; otherwise only what the class is called with."""
        chosen = CHOSEN_SOURCES.get()
        return (init_settings,) if chosen is None else chosen(settings_cls)

    @model_validator(mode="after")
    def _work_together(self) -> Self:
        if found := tuple(clashes(self)):
            raise ClashError(*found)
        return self

    @property
    def heartbeat_required(self) -> bool:
        """Whether silence of a worker means that it is hung."""
        if self.worker.heartbeat == "auto":
            return not self.pool.command
        return self.worker.heartbeat == "required"


# -- what cannot work together -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clash:
    """Two keys that cannot both have their value: what each must be to the other, and another way out."""

    key: str
    value: Any
    must: str
    other: str
    other_value: Any
    other_must: str
    hint: str = ""

    def swapped(self) -> Clash:
        return Clash(self.other, self.other_value, self.other_must, self.key, self.value, self.must, self.hint)


class ClashError(ValueError):
    """Some settings cannot work together."""

    def __init__(self, *clashes: Clash) -> None:
        self.clashes = clashes
        super().__init__("; ".join(f"{clash.key} {clash.must} {clash.other}{clash.hint}" for clash in clashes))


def clashes(settings: Settings) -> Iterator[Clash]:
    """Everything about these settings that cannot work."""
    limits, pool, voice = settings.limits, settings.pool, settings.voice

    def clash(key: str, must: str, other: str, other_must: str, hint: str = "") -> Clash:
        return Clash(key, attrgetter(key)(settings), must, other, attrgetter(other)(settings), other_must, hint)

    less, more = "must be less than", "must be more than"
    most, least = "must be at most", "must be at least"
    if limits.suspect_after >= limits.hung_after:
        yield clash("limits.suspect_after", less, "limits.hung_after", more)
    if limits.beat_interval * 2 > limits.suspect_after:
        yield clash("limits.beat_interval", f"{most} half of", "limits.suspect_after", f"{least} twice")
    soft, hard = limits.memory_soft_mb, limits.memory_hard_mb
    if soft != "auto" and hard != "auto" and soft >= hard:
        yield clash("limits.memory_soft_mb", less, "limits.memory_hard_mb", more)
    if settings.restart.backoff_base > settings.restart.backoff_max:
        yield clash("restart.backoff_base", most, "restart.backoff_max", least)
    if settings.restart.park_retry > settings.restart.park_window:
        yield clash("restart.park_retry", most, "restart.park_window", least)
    if pool.max_unavailable > pool.workers > 1:
        yield clash("pool.max_unavailable", most, "pool.workers", least)
    if pool.command and pool.agent != Pool.model_fields["agent"].default:
        beside = "cannot go together with"
        yield clash("pool.command", beside, "pool.agent", beside, ": set one of them")
    if voice.turn_detection == "model" and voice.min_silence_duration < MIN_SILENCE_OF_MODEL:
        must = f"must be {MIN_SILENCE_OF_MODEL} or more with"
        hint = ', or set voice.turn_detection = "vad"'
        yield clash("voice.min_silence_duration", must, "voice.turn_detection", 'must be "vad" with', hint)
