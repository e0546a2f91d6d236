"""Which source wins, and that it is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mindbot_config import keys
from mindbot_config.credentials import WEBHOOK_SECRET, Credentials
from mindbot_config.errors import ConfigError
from mindbot_config.sources import from_environ, load

Write = Callable[[str, str], Path]

OTHER: dict[str, Any] = {
    "socket": "/tmp/a.sock",
    "runtime_dir": "/tmp/run",
    "state_dir": "/tmp/state",
    "pool.workers": 7,
    "pool.agent": "my.agent:server",
    "pool.command": "./agent --flag",
    "pool.launcher": "exec",
    "pool.agent_name": "bot",
    "pool.max_calls": 3,
    "pool.drain_timeout": 12.5,
    "pool.stop_timeout": 5.0,
    "pool.gone_room_timeout": 20.0,
    "pool.start_timeout": 30.0,
    "pool.max_unavailable": 2,
    "pool.max_draining": 2,
    "pool.max_starting": 1,
    "limits.max_errors": 3,
    "limits.error_window": 60.0,
    "limits.inactivity": 60.0,
    "limits.check_interval": 2.0,
    "limits.beat_interval": 0.5,
    "limits.suspect_after": 4.0,
    "limits.hung_after": 20.0,
    "limits.beats_rejected_max": 5,
    "limits.memory_soft_mb": 500.0,
    "limits.memory_hard_mb": 900.0,
    "limits.leak_horizon": 0.0,
    "limits.cpu_percent": 50.0,
    "limits.cpu_window": 10.0,
    "limits.max_age": 86400.0,
    "limits.max_jobs": 100,
    "limits.register_timeout": 45.0,
    "limits.max_disconnects": 5,
    "limits.disconnect_window": 60.0,
    "restart.backoff_base": 1.0,
    "restart.backoff_max": 30.0,
    "restart.healthy_after": 10.0,
    "restart.park_after": 3,
    "restart.park_window": 300.0,
    "restart.park_retry": 30.0,
    "recovery.enabled": False,
    "recovery.attempts": 3,
    "recovery.deadline": 8.0,
    "recovery.sentence": "I am back.",
    "voice.stt_model": "nova-2",
    "voice.language": "de",
    "voice.smart_format": False,
    "voice.punctuate": False,
    "voice.interim_results": False,
    "voice.endpointing_ms": 300,
    "voice.filler_words": False,
    "voice.numerals": True,
    "voice.profanity_filter": True,
    "voice.keyterms": ["MindBot", "Zürich"],
    "voice.redact": ["pci", "numbers"],
    "voice.mip_opt_out": True,
    "voice.stt_sample_rate": 8000,
    "voice.deaf_after": 4.5,
    "voice.llm_model": "gpt-4o-mini",
    "voice.tts_model": "tts-1",
    "voice.voice": "ash",
    "voice.min_speech_duration": 0.25,
    "voice.min_silence_duration": 0.4,
    "voice.prefix_padding_duration": 0.2,
    "voice.activation_threshold": 0.6,
    "voice.vad_sample_rate": 8000,
    "voice.turn_detection": "vad",
    "voice.frame_ms": 20,
    "voice.greeting": "",
    "voice.instructions": 'Say "yes"\nor no. €',
    "voice.openai_concurrency": 2,
    "voice.deepgram_concurrency": 9,
    "voice.stt_fallbacks": ["nova-2-phonecall", "nova-2"],
    "voice.llm_fallbacks": ["gpt-4o"],
    "voice.tts_fallbacks": ["tts-1-hd"],
    "voice.connect_retries": 0,
    "voice.reply_timeout": 7.5,
    "voice.reply_retries": 2,
    "voice.excuse": "Pardon?",
    "voice.failed_replies": 2,
    "voice.apology": "",
    "voice.on_failure": "leave",
    "voice.openai_base_url": "http://127.0.0.1:1/v1",
    "voice.deepgram_base_url": "http://127.0.0.1:2/v1/listen",
    "usage.openai_budget_requests_per_minute": 100,
    "usage.openai_budget_tokens_per_day": 1000000,
    "usage.deepgram_budget_audio_hours_per_day": 12.5,
    "log.level": "debug",
    "log.format": "console",
    "log.file": "/tmp/mindbot.log",
    "log.log_transcripts": True,
    "http.listen": "off",
    "http.allowed_hosts": ["mindbot.example"],
    "http.show_identities": True,
    "http.max_connections": 16,
    "notify.webhook_url": "https://hooks.example/T0/B0",
    "notify.events": ["slot.parked"],
    "env.file": "/dev/null",
    "env.watch": True,
    "worker.heartbeat": "optional",
    "worker.ready_after": 3.0,
    "worker.registered": False,
    "worker.synthetic_interval": 30.0,
    "worker.memory_interval": 30.0,
    "worker.monitor_performance": False,
}


def as_toml(flat: dict[str, Any]) -> str:
    nested = keys.nest(flat)
    lines = [f"{key} = {json.dumps(value)}" for key, value in nested.items() if not isinstance(value, dict)]
    for section, inner in nested.items():
        if isinstance(inner, dict):
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in inner.items())]
    return "\n".join(lines)


def as_variable(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def expected(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def effective(settings: Any, key: str) -> Any:
    value = keys.values(settings)[key]
    return str(value) if isinstance(value, Path) else value


def test_the_table_of_other_values_names_every_key() -> None:
    assert tuple(OTHER) == keys.KEYS


@pytest.mark.parametrize("key", keys.KEYS)
def test_every_key_can_be_set_in_the_file(key: str, write: Write) -> None:
    loaded = load({}, write("a.toml", as_toml({key: OTHER[key]})), {})
    assert effective(loaded.settings, key) == expected(OTHER[key]) != keys.DEFAULTS[key]
    assert {k for k, source in loaded.sources.items() if source == "file a.toml"} == {key}


@pytest.mark.parametrize("key", keys.KEYS)
def test_every_key_can_be_set_by_its_variable(key: str) -> None:
    environ = {keys.variable(key): as_variable(OTHER[key])}
    loaded = load({}, None, environ)
    assert effective(loaded.settings, key) == expected(OTHER[key])
    assert {k: s for k, s in loaded.sources.items() if s != "default"} == {key: f"environment {keys.variable(key)}"}
    assert from_environ(environ) == loaded.settings


@pytest.mark.parametrize("key", keys.KEYS)
def test_every_key_can_be_set_by_a_flag(key: str) -> None:
    loaded = load(keys.nest({key: OTHER[key]}), None, {})
    assert effective(loaded.settings, key) == expected(OTHER[key])
    assert loaded.sources[key] == f"flag {keys.option(key)}"


def test_flags_win_over_env_file_over_environment_over_file_over_defaults(write: Write) -> None:
    config = write("a.toml", '[limits]\nmax_errors = 1\nerror_window = 1\ncpu_window = 1\nmax_age = 1\n[env]\nfile="e"')
    names = ("MAX_ERRORS", "ERROR_WINDOW", "CPU_WINDOW")
    write("e", "\n".join(f"MINDBOT_LIMITS__{name}=3" for name in names[:2]))
    loaded = load({"limits": {"max_errors": 4}}, config, {f"MINDBOT_LIMITS__{name}": "2" for name in names})
    limits = loaded.settings.limits
    assert (limits.max_errors, limits.error_window, limits.cpu_window, limits.max_age) == (4, 3, 2, 1)
    assert limits.inactivity == 300
    assert {key: source for key, source in loaded.sources.items() if source != "default"} == {
        "limits.max_errors": "flag --max-errors",
        "limits.error_window": "env file e",
        "limits.cpu_window": "environment MINDBOT_LIMITS__CPU_WINDOW",
        "limits.max_age": "file a.toml",
        "env.file": "file a.toml",
    }


def test_a_wrong_value_that_a_higher_source_overrides_does_not_matter(write: Write) -> None:
    config = write("a.toml", "[pool]\nworkers = 'many'")
    assert load({}, config, {"MINDBOT_POOL__WORKERS": "2"}).settings.pool.workers == 2


def test_a_default_that_is_given_has_its_source(write: Write) -> None:
    assert load({}, write("a.toml", "[pool]\nworkers = 4"), {}).sources["pool.workers"] == "file a.toml"


def test_a_section_may_be_one_json_variable_and_its_keys_win() -> None:
    environ = {"MINDBOT_POOL": '{"workers": 3, "max_calls": 5}', "MINDBOT_POOL__WORKERS": "2"}
    loaded = load({}, None, environ)
    assert (loaded.settings.pool.workers, loaded.settings.pool.max_calls) == (2, 5)
    assert loaded.sources["pool.max_calls"] == "environment MINDBOT_POOL"


def test_variables_that_are_no_settings_are_left_alone() -> None:
    environ = dict.fromkeys(("MINDBOT_HEARTBEAT_FD", "MINDBOT_LEASH_FD", "MINDBOT_WORKER_NAME", "MINDBOT_SLOT"), "3")
    loaded = load({}, None, environ)
    assert loaded.environ == environ
    assert from_environ(environ) == loaded.settings


def test_an_empty_path_is_none(write: Write) -> None:
    config = write("a.toml", 'socket = "/tmp/x"\n[env]\nfile = "absent"')
    loaded = load({}, config, {"MINDBOT_SOCKET": "", "MINDBOT_ENV__FILE": ""})
    assert loaded.settings.socket is None
    assert loaded.settings.env.file is None


@pytest.mark.parametrize("where", ["flag", "environment", "file"])
def test_the_env_file_may_be_named_by_any_source(where: str, write: Write) -> None:
    write("e", "MINDBOT_POOL__WORKERS=9")
    config = write("a.toml", '[env]\nfile = "e"') if where == "file" else None
    flags = {"env": {"file": Path("e")}} if where == "flag" else {}
    loaded = load(flags, config, {"MINDBOT_ENV__FILE": "e"} if where == "environment" else {})
    assert loaded.settings.pool.workers == 9
    assert loaded.settings.env.file == Path("e")


def test_env_file_values_are_not_interpolated(write: Write) -> None:
    write("e", "A=${HOME}/$B\nC='x # y'  # comment\nexport D=1\n# E=2\nF=\n")
    loaded = load({"env": {"file": "e"}}, None, {"A": "old", "B": "kept", "HOME": "/root"})
    assert loaded.environ == {"A": "${HOME}/$B", "B": "kept", "C": "x # y", "D": "1", "F": "", "HOME": "/root"} | {
        "MINDBOT_ENV__FILE": "e"
    }


def test_the_workers_get_the_effective_settings_and_nothing_else_of_them(write: Write) -> None:
    write("e", "MINDBOT_LIMITS__MAX_ERRORS=7")
    config = write("a.toml", '[env]\nfile = "e"\n[voice]\nvoice = "ash"')
    loaded = load({"pool": {"workers": 4}}, config, {"MINDBOT_POOL__WORKERS": "8", "mindbot_http__listen": "off"})
    assert loaded.environ == {
        "MINDBOT_LIMITS__MAX_ERRORS": "7",
        "MINDBOT_VOICE__VOICE": "ash",
        "MINDBOT_HTTP__LISTEN": "off",
        "MINDBOT_ENV__FILE": "e",
    }
    assert from_environ(loaded.environ) == loaded.settings


def test_systemd_credentials_fill_in_what_neither_environment_nor_env_file_sets(write: Write) -> None:
    write("e", "OPENAI_API_KEY=from-file\n")
    for name in ("OPENAI_API_KEY", "DEEPGRAM_API_KEY", "LIVEKIT_API_KEY", "UNRELATED"):
        write(f"creds/{name}", "from-systemd\n")
    environ = {"CREDENTIALS_DIRECTORY": str(Path("creds").absolute()), "DEEPGRAM_API_KEY": "from-environ"}
    loaded = load({"env": {"file": "e"}}, None, environ | {"LIVEKIT_API_KEY": ""})
    found = Credentials.from_environ(loaded.environ)
    assert found.openai_api_key == "from-file"
    assert found.deepgram_api_key == "from-environ"
    assert found.livekit_api_key == "from-systemd"
    assert "UNRELATED" not in loaded.environ
    assert loaded.credential_sources == {
        "OPENAI_API_KEY": "env file e",
        "DEEPGRAM_API_KEY": "environment",
        "LIVEKIT_API_KEY": "systemd credential",
    }


def test_the_secret_of_the_webhook_may_be_a_systemd_credential(write: Write) -> None:
    write(f"creds/{WEBHOOK_SECRET}", "from-systemd\n")
    loaded = load({}, None, {"CREDENTIALS_DIRECTORY": str(Path("creds").absolute())})
    assert loaded.environ[WEBHOOK_SECRET] == "from-systemd"


def test_the_env_file_wins_over_the_inherited_environment_for_credentials(write: Write) -> None:
    write("e", "OPENAI_API_KEY=new")
    assert load({"env": {"file": "e"}}, None, {"OPENAI_API_KEY": "old"}).environ["OPENAI_API_KEY"] == "new"


def test_the_file_is_searched_for_where_none_is_named(write: Write) -> None:
    assert load({}, None, {}).file is None
    etc = write("etc/mindbot.toml", "[pool]\nworkers = 1").absolute()
    assert load({}, None, {}).file == etc
    here = write("mindbot.toml", "[pool]\nworkers = 2")
    assert load({}, None, {}).settings.pool.workers == 2
    assert load({}, None, {}).file == here
    named = write("named.toml", "[pool]\nworkers = 3")
    assert load({}, None, {"MINDBOT_CONFIG": "named.toml"}).file == named
    assert load({}, write("flag.toml", ""), {"MINDBOT_CONFIG": "named.toml"}).settings.pool.workers == 4


def test_a_file_that_is_there_and_cannot_be_read_is_not_passed_over() -> None:
    Path("mindbot.toml").mkdir()
    with pytest.raises(ConfigError, match=r"^file mindbot\.toml: cannot be read: Is a directory$"):
        load({}, None, {})


def test_a_pipe_will_do_as_a_file() -> None:
    read, write = os.pipe()
    os.write(write, b"[pool]\nworkers = 6")
    os.close(write)
    assert load({}, Path(f"/dev/fd/{read}"), {}).settings.pool.workers == 6
    os.close(read)


def test_the_real_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINDBOT_POOL__WORKERS", "9")
    assert load({}, None, {"MINDBOT_LOG__LEVEL": "debug"}).settings.pool.workers == 4
