from __future__ import annotations

import pytest

from mindbot_config.credentials import NAMES, SECRET_NAMES, Credentials, secret_values
from mindbot_config.errors import ConfigError

ALL = {
    "LIVEKIT_URL": "wss://mindbot.livekit.cloud",
    "LIVEKIT_API_KEY": "APIs3cret",
    "LIVEKIT_API_SECRET": "s3cret-livekit",
    "OPENAI_API_KEY": "sk-s3cret-openai",
    "DEEPGRAM_API_KEY": "s3cret-deepgram",
}


def test_credentials_come_from_their_usual_names() -> None:
    found = Credentials.from_environ(ALL)
    assert [found.get(name) for name in NAMES] == list(ALL.values())
    assert found.has_livekit
    found.check()


def test_no_credentials_at_all_are_no_error() -> None:
    found = Credentials.from_environ({})
    assert not found.has_livekit
    found.check()


def test_the_representation_shows_only_what_is_set() -> None:
    text = repr(Credentials.from_environ(ALL | {"DEEPGRAM_API_KEY": ""}))
    assert "openai_api_key=set, deepgram_api_key=not set" in text
    assert "s3cret" not in text


@pytest.mark.parametrize("url", ["ws://h", "wss://h:443/path", "http://127.0.0.1:7880", "https://[::1]:7880"])
def test_a_livekit_url_is_a_websocket_or_http_url(url: str) -> None:
    Credentials.from_environ(ALL | {"LIVEKIT_URL": url}).check()


@pytest.mark.parametrize("url", ["h", "h:7880", "ftp://h", "wss://", "wss:///x", "wss://h:port", '"wss://h"'])
def test_any_other_livekit_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Credentials.from_environ(ALL | {"LIVEKIT_URL": url}).check()
    assert str(caught.value) == "LIVEKIT_URL: must be a ws://, wss://, http:// or https:// URL with a host"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["LIVEKIT_URL"], "LIVEKIT_API_KEY and LIVEKIT_API_SECRET: must be set too, as LIVEKIT_URL is set"),
        (
            ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"],
            "LIVEKIT_URL: must be set too, as LIVEKIT_API_KEY and LIVEKIT_API_SECRET are set",
        ),
    ],
)
def test_livekit_credentials_come_all_or_none(given: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Credentials.from_environ({name: ALL[name] for name in given}).check()
    assert str(caught.value) == message


@pytest.mark.parametrize("value", ["sk-s3cret s3cret", "sk-s3cret\nX: y", "sk-s3cret\u200b", "sk-s3crét"])
def test_a_credential_that_no_http_header_can_carry_is_refused_unseen(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Credentials.from_environ({"OPENAI_API_KEY": value}).check()
    assert str(caught.value) == "OPENAI_API_KEY: must be plain ASCII without white space"


def test_white_space_around_a_credential_does_not_matter() -> None:
    assert Credentials.from_environ({"OPENAI_API_KEY": " sk-x\n"}).openai_api_key == "sk-x"


def test_the_url_is_no_secret() -> None:
    assert {"LIVEKIT_URL"} == set(NAMES) - SECRET_NAMES


def test_secret_values_are_those_of_variables_named_like_secrets_and_long_enough() -> None:
    environ = {
        "OPENAI_API_KEY": "value-of-key",
        "LIVEKIT_API_SECRET": "value-of-secret\n",
        "GITHUB_TOKEN": "value-of-token",
        "DB_PASSWORD": "value-of-password",
        "MINDBOT_NOTIFY__WEBHOOK_URL": "https://hooks.example/x",
        "LIVEKIT_API_KEY": "devkey",
        "KEYBOARD": "german-layout",
        "LIVEKIT_URL": "ws://127.0.0.1:7880",
        "PATH": "/usr/bin:/bin",
    }
    assert secret_values(environ) == {
        "value-of-key",
        "value-of-secret",
        "value-of-token",
        "value-of-password",
        "https://hooks.example/x",
    }
