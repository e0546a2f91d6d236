from __future__ import annotations

import pytest

from mindbot_config import keys
from mindbot_config.credentials import NAMES, Credentials
from mindbot_config.load import load
from mindbot_config.messages import host_only, shown
from mindbot_config.show import Resolved, show


def rows(flags: dict[str, object], environ: dict[str, str]) -> dict[str, tuple[str, str]]:
    loaded = load(flags, None, environ)
    shown_rows = show(loaded, Credentials.from_environ(loaded.environ))
    assert [key for key, _, _ in shown_rows] == [*keys.KEYS, *NAMES]
    return {key: (value, source) for key, value, source in shown_rows}


def test_every_key_is_shown_with_its_value_and_source() -> None:
    found = rows({"pool": {"workers": 6}}, {"MINDBOT_LOG__LEVEL": "debug"})
    assert found["pool.workers"] == ("6", "flag --workers")
    assert found["log.level"] == ('"debug"', "environment MINDBOT_LOG__LEVEL")
    assert found["limits.max_errors"] == ("10", "default")
    assert found["limits.error_window"] == ("300", "default")
    assert found["socket"] == ('""', "default")
    assert found["recovery.enabled"] == ("true", "default")


def test_credentials_are_shown_by_their_length_only() -> None:
    found = rows({}, {"OPENAI_API_KEY": "sk-s3cret"})
    assert found["OPENAI_API_KEY"] == ("set, 9 characters", "environment")
    assert found["DEEPGRAM_API_KEY"] == ("not set", "")


def test_secrets_are_masked() -> None:
    flags: dict[str, object] = {
        "notify": {"webhook_url": "https://hooks.example/s3cret-path"},
        "pool": {"command": "agent --key s3cret-key"},
    }
    found = rows(flags, {"MY_API_KEY": "s3cret-key"})
    assert found["notify.webhook_url"][0] == '"https://hooks.example/***"'
    assert found["pool.command"][0] == '"agent --key ***"'


def test_secrets_within_commands_and_urls_are_masked_whatever_their_names() -> None:
    environ = {
        "MINDBOT_POOL__COMMAND": "agent --token canary-1 redis://:canary-2@h/0",
        "MINDBOT_VOICE__OPENAI_BASE_URL": "http://me:canary-3@h/v1?key=canary-4",
        "MINDBOT_VOICE__GREETING": "see https://me:canary-5@h.example/",
        "MINDBOT_VOICE__KEYTERMS": '["MindBot"]',
    }
    found = rows({}, environ)
    assert "canary" not in repr(found)
    assert found["pool.command"][0] == '"agent --token *** redis://***@h/0"'
    assert found["voice.keyterms"][0] == '["MindBot"]'


def test_an_automatic_number_is_shown_with_its_origin() -> None:
    loaded = load({"limits": {"memory_soft_mb": 100}}, None, {})
    origin = "an equal share of four fifths of the memory limit of cgroup /x, 512 MiB"
    resolved = {key: Resolved(102.44, origin) for key in ("limits.memory_hard_mb", "limits.memory_soft_mb")}
    found = {key: (value, source) for key, value, source in show(loaded, Credentials(), resolved)}
    assert found["limits.memory_hard_mb"] == ('"auto" = 102.4', f"default; {origin}")
    assert found["limits.memory_soft_mb"] == ("100", "flag --memory-soft-mb")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://h", "https://h"),
        ("https://h/", "https://h"),
        ("https://h:8/x", "https://h:8/***"),
        ("https://h?token=x", "https://h/***"),
        ("https://me:secret@h/", "https://h/***"),
        ("http://[::1]:8/v1", "http://[::1]:8/***"),
        ("secret", "***"),
        ("https:/secret", "***"),
        ("https://h:secret/", "***"),
    ],
)
def test_of_a_url_only_the_host_is_shown(url: str, host: str) -> None:
    assert host_only(url) == host


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, '""'), (True, "true"), (3.0, "3"), (0.25, "0.25"), ("a\nb", '"a\\nb"'), (("a", "b"), '["a", "b"]')],
)
def test_values_are_shown_as_toml_writes_them(value: object, text: str) -> None:
    assert shown("pool.x", value) == text
