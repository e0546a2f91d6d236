"""The models by themselves: ranges, combinations, frozen."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mindbot_config import docs, keys
from mindbot_config.combinations import clashes
from mindbot_config.limits import Section
from mindbot_config.settings import Settings


def test_the_defaults_fit_together() -> None:
    assert list(clashes(Settings())) == []


def test_settings_do_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINDBOT_POOL__WORKERS", "9")
    assert Settings().pool.workers == 4


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().pool.workers = 5


@pytest.mark.parametrize("model", [Settings, *keys.SECTIONS.values()], ids=lambda model: model.__name__)
def test_every_field_is_documented(model: type[Section]) -> None:
    values = [name for name in model.model_fields if name not in keys.SECTIONS or model is not Settings]
    assert sorted(docs.of(model)) == sorted(values)


@pytest.mark.parametrize(
    "nested",
    [
        {"limits": {"suspect_after": 10, "hung_after": 10}},
        {"limits": {"beat_interval": 1.6, "suspect_after": 3}},
        {"limits": {"memory_soft_mb": 500, "memory_hard_mb": 500}},
        {"restart": {"backoff_base": 2, "backoff_max": 1}},
        {"restart": {"park_retry": 700}},
        {"pool": {"workers": 2, "max_unavailable": 3}},
        {"pool": {"agent": "my.agent:server", "command": "./agent"}},
        {"voice": {"min_silence_duration": 0.1}},
        {"voice": {"min_silence_duration": 0.249, "turn_detection": "model"}},
    ],
    ids=str,
)
def test_an_impossible_combination_is_refused(nested: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(nested)


@pytest.mark.parametrize(
    "nested",
    [
        {"limits": {"beat_interval": 1.5, "suspect_after": 3}},
        {"limits": {"memory_soft_mb": 500}},
        {"limits": {"memory_hard_mb": 500}},
        {"pool": {"workers": 1, "max_unavailable": 3}},
        {"pool": {"command": "./agent --name 'a b'"}},
        {"voice": {"min_silence_duration": 0.25}},
        {"voice": {"min_silence_duration": 0.1, "turn_detection": "vad"}},
        {"voice": {"min_silence_duration": 0.1, "turn_detection": "stt"}},
    ],
    ids=str,
)
def test_a_possible_combination_is_taken(nested: dict[str, Any]) -> None:
    Settings.model_validate(nested)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pool.workers", 0),
        ("pool.workers", 1025),
        ("pool.agent", "no_colon"),
        ("pool.agent", "a:b:c"),
        ("pool.agent", "a b:c"),
        ("pool.agent", ":server"),
        ("pool.command", "'unclosed"),
        ("pool.command", "   "),
        ("pool.command", "''"),
        ("limits.memory_soft_mb", 0),
        ("limits.memory_soft_mb", "much"),
        ("limits.check_interval", 31),
        ("limits.error_window", float("inf")),
        ("recovery.deadline", 0),
        ("voice.voice", ""),
        ("voice.greeting", "a\0b"),
        ("socket", "a\0b"),
        ("socket", "~/mindbot.sock"),
        ("http.listen", "8090"),
        ("http.listen", ":8090"),
        ("http.listen", "localhost:65536"),
        ("http.listen", "::1:8090"),
        ("http.allowed_hosts", ["https://mindbot.example"]),
        ("http.allowed_hosts", ["mindbot.example:8090"]),
        ("http.allowed_hosts", [""]),
        ("http.max_connections", 0),
        ("pool.stop_timeout", 0),
        ("pool.gone_room_timeout", 0),
        ("notify.webhook_url", "hooks.example/x"),
        ("notify.webhook_url", "https:///x"),
        ("notify.webhook_url", "https://host:port/"),
        ("notify.events", ["worker.exploded"]),
        ("voice.openai_base_url", "ws://127.0.0.1/v1"),
    ],
)
def test_a_value_out_of_range_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(keys.nest({key: value}))


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:8090", ("127.0.0.1", 8090)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:80", ("::1", 80)),
        ("off", None),
    ],
)
def test_the_http_address_is_host_and_port_or_nothing(listen: str, address: tuple[str, int] | None) -> None:
    assert Settings.model_validate({"http": {"listen": listen}}).http.address == address


@pytest.mark.parametrize(
    ("heartbeat", "command", "required"),
    [
        ("auto", "", True),
        ("auto", "./agent", False),
        ("required", "./agent", True),
        ("optional", "", False),
    ],
)
def test_heartbeats_are_required_of_agents_and_not_of_commands(heartbeat: str, command: str, required: bool) -> None:
    settings = Settings.model_validate({"worker": {"heartbeat": heartbeat}, "pool": {"command": command}})
    assert settings.heartbeat_required is required


def test_a_log_level_may_be_written_in_capitals() -> None:
    assert Settings.model_validate({"log": {"level": "DEBUG"}}).log.level == "debug"


def test_a_host_name_is_kept_as_a_host_header_is_compared() -> None:
    assert Settings.model_validate({"http": {"allowed_hosts": ["MindBot.Example."]}}).http.allowed_hosts == (
        "mindbot.example",
    )
