from __future__ import annotations

import pytest

from mindbot_config.credentials import NAMES, SECRET_NAMES, Credentials, is_secret_name, mask_command, secret_values
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


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_API_KEY",
        "API_KEY",
        "apikey",
        "DB_PASS",
        "DB_PWD",
        "DB_PASSWORD",
        "MY_SECRETS",
        "X_TOKEN",
        "SLACK_WEBHOOK_URL",
    ],
)
def test_a_name_says_that_its_value_is_secret(name: str) -> None:
    assert is_secret_name(name)
    assert secret_values({name: "canary-0123"}) == {"canary-0123"}


@pytest.mark.parametrize(
    "name", ["PWD", "OLDPWD", "KEYBOARD", "BYPASS", "COMPASS_DIR", "TOKENIZER", "DATABASE_URL", "MONKEY"]
)
def test_another_name_says_nothing(name: str) -> None:
    assert not is_secret_name(name)
    assert secret_values({name: "/home/canary"}) == frozenset()


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ("postgres://app:hunter2@db:5432/x", {"hunter2"}),
        ("postgres://app:p%40ss%2Fword@db/x", {"p%40ss%2Fword", "p@ss/word"}),
        ("postgres://app:p@ssword@db/x", {"p@ssword"}),
        ("postgres://app:pass/word@db/x", {"pass/word"}),
        ("redis://:hunter2@cache:6379/0", {"hunter2"}),
        ("amqp://a:hunter21@one:1,amqp://a:hunter22@two:2", {"hunter21", "hunter22"}),
        ("https://0123456789abcdef0123@sentry.example/4", {"0123456789abcdef0123"}),
        ("https://h.example/x?user=me&access_token=canary-1&n=1", {"canary-1"}),
        ("postgres://app@db/x", set()),
        ("http://h:8080/mail?to=me@h.example", set()),
        ("http://h.example/", set()),
    ],
)
@pytest.mark.parametrize("name", ["DATABASE_URL", "APP_DSN", "http_proxy"])
def test_of_a_url_only_the_password_is_secret(name: str, value: str, secrets: set[str]) -> None:
    assert secret_values({name: value}) == secrets


def test_of_a_webhooks_url_the_whole_the_path_and_the_token_are_secret() -> None:
    url = "https://hooks.example/services/T0123ABCD/B0/aBcDeFgHiJkLmNoPqRsT"
    found = secret_values({"MINDBOT_NOTIFY__WEBHOOK_URL": url})
    assert found == {url, "services/T0123ABCD/B0/aBcDeFgHiJkLmNoPqRsT", "T0123ABCD", "aBcDeFgHiJkLmNoPqRsT"}


@pytest.mark.parametrize(
    ("command", "masked"),
    [
        ("agent --api-key canary-1 --port 8080", "agent --api-key *** --port 8080"),
        ("agent --token=canary-1", "agent --token=***"),
        ("agent --password 'canary 1' run", "agent --password '***' run"),
        ('sh -c "API_KEY=canary-1 exec agent"', 'sh -c "API_KEY=*** exec agent"'),
        ("env DB_PASSWORD=canary-1 agent", "env DB_PASSWORD=*** agent"),
        ("agent postgres://app:hunter2@db/x", "agent postgres://***@db/x"),
        ("curl -H 'Authorization: Bearer canary-0123'", "curl -H 'Authorization: Bearer ***'"),
        ("agent --use-token --port 1", "agent --use-token --port 1"),
        ("agent --monkey business --keyterms a,b", "agent --monkey business --keyterms a,b"),
        ("python -m worker --name bot", "python -m worker --name bot"),
    ],
)
def test_a_command_is_shown_without_its_secrets(command: str, masked: str) -> None:
    assert mask_command(command) == masked
    if "***" in masked:
        assert all(len(each) >= 6 for each in secret_values({"MINDBOT_POOL__COMMAND": command}))
        assert secret_values({"MINDBOT_POOL__COMMAND": command})


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("DB_PASS", "hunter-22", {"hunter-22"}),
        ("DB_PASS", "s3cr3t", {"s3cr3t"}),
        ("DB_PWD", "hunter-22", {"hunter-22"}),
        ("API_KEY_2", "hunter-22", {"hunter-22"}),
        ("PWD", "/home/somebody", set()),
        ("OLDPWD", "/home/somebody", set()),
        ("BYPASS", "hunter-22", set()),
        ("DATABASE_URL", "postgres://me:hunter%2F22@db/x", {"hunter%2F22", "hunter/22"}),
        ("SENTRY_DSN", "https://public:hunter-22@sentry.example/1", {"hunter-22"}),
        ("ANYTHING", "see amqp://me:hunt@er-22@mq and redis://:hunter-23@r", {"hunt@er-22", "hunter-23"}),
        ("LIVEKIT_URL", "ws://127.0.0.1:7880/a@b", set()),
    ],
)
def test_a_name_or_a_url_makes_a_value_secret(name: str, value: str, secret: set[str]) -> None:
    assert secret_values({name: value}) == secret


def test_settings_have_secrets_too() -> None:
    settings = {
        "notify.webhook_url": "https://hooks.example/T0/secret-part",
        "voice.openai_base_url": "https://me:hunter-22@proxy/v1",
        "pool.workers": 4,
        "pool.agent": "module:server",
    }
    expected = {"https://hooks.example/T0/secret-part", "T0/secret-part", "hunter-22"}
    assert secret_values({}, settings) == expected
