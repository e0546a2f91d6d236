"""Settings survive the way through the environment, and nonsense of any kind is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mindbot_config import files, keys
from mindbot_config.errors import ConfigError
from mindbot_config.services import Event
from mindbot_config.settings import Settings
from mindbot_config.sources import from_environ, load, to_environ

quick = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

TEXTS = st.text(max_size=20).filter(lambda text: "\0" not in text)
FLOATS = st.floats(min_value=0.0001, allow_nan=False, allow_infinity=False)

SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "pool.agent": st.sampled_from(["a:b", "my.agent:app.server"]),
    "pool.command": st.sampled_from(["", "./agent", "python -c 'x = \"$Y\"'"]),
    "limits.memory_soft_mb": FLOATS | st.just("auto"),
    "limits.memory_hard_mb": FLOATS | st.just("auto"),
    "pool.max_draining": st.integers(1, 99) | st.just("auto"),
    "pool.max_starting": st.integers(1, 99) | st.just("auto"),
    "voice.turn_detection": st.sampled_from(["model", "vad", "stt", "manual"]),
    "voice.openai_base_url": st.sampled_from(["", "http://[::1]:80/v1"]),
    "voice.deepgram_base_url": st.sampled_from(["", "https://h/v1/listen?x=%20"]),
    "voice.on_failure": st.sampled_from(["close", "leave", "handover"]),
    "notify.webhook_url": st.sampled_from(["", "https://h/x"]),
    "notify.events": st.lists(st.sampled_from(get_args(Event))),
    "http.allowed_hosts": st.lists(st.sampled_from(["mindbot.example", "a-b"])),
    "http.listen": st.sampled_from(["off", "h:0", "[::]:9"]),
    "log.level": st.sampled_from(["debug", "ERROR"]),
    "log.format": st.sampled_from(["json", "console"]),
    "worker.heartbeat": st.sampled_from(["auto", "required", "optional"]),
}


def strategy(key: str) -> st.SearchStrategy[Any]:
    if key in SPECIAL:
        return SPECIAL[key]
    match keys.DEFAULTS[key]:
        case bool():
            return st.booleans()
        case int():
            return st.integers(1, 10)
        case float():
            return st.floats(0.0001, 30) | FLOATS
        case None:
            return st.just("") | TEXTS.map(lambda text: str(Path("/", text)))
    return TEXTS


SOME = st.lists(st.sampled_from(keys.KEYS), unique=True, max_size=6).flatmap(
    lambda chosen: st.fixed_dictionaries({key: strategy(key) for key in chosen})
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from([*keys.KEYS, *keys.SECTIONS, "pool.x", "x.y", "x"]) | st.text(max_size=12)


@quick
@given(SOME)
def test_settings_survive_the_environment(some: dict[str, Any]) -> None:
    try:
        made = Settings.model_validate(keys.nest(some))
    except ValidationError:
        return
    environ = to_environ(made)
    assert from_environ(environ) == made
    assert load({}, None, {**environ, "MINDBOT_ENV__FILE": ""}).settings.pool == made.pool


def test_the_defaults_need_no_variable() -> None:
    assert to_environ(Settings()) == {}


def one_line(text: str) -> bool:
    return len(text.splitlines()) == 1 and text.isprintable() and "pydantic" not in text


@quick
@given(st.dictionaries(NAMES, JSON, max_size=3), st.booleans())
def test_nonsense_of_any_type_is_refused_in_one_line(nonsense: dict[str, Any], in_file: bool) -> None:
    nested: dict[str, Any] = {}
    for key, value in nonsense.items():
        section, _, name = key.partition(".")
        inner = nested.setdefault(section, {} if name else value)
        if name and isinstance(inner, dict):
            inner[name] = value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "find_toml", lambda environ: (Path("mindbot.toml"), nested) if in_file else (None, {}))
        try:
            load({} if in_file else nested, None, {})
        except ConfigError as error:
            assert one_line(str(error))


@quick
@given(st.dictionaries(NAMES, st.text(max_size=12) | JSON.map(json.dumps), max_size=3))
def test_nonsense_in_the_environment_is_refused_in_one_line(nonsense: dict[str, str]) -> None:
    environ = {f"MINDBOT_{key.replace('.', '__')}": text for key, text in nonsense.items()}
    try:
        from_environ(environ)
    except ConfigError as error:
        assert one_line(str(error))


@quick
@given(text=st.text(max_size=40) | st.text(alphabet="[]{}=.\"'\n#ap1 ", max_size=40))
def test_nonsense_as_toml_or_env_file_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text(text)
    for flags, config in (({}, file), ({"env": {"file": file}}, None)):
        try:
            load(flags, config, {})
        except ConfigError as error:
            assert one_line(str(error))


@pytest.mark.parametrize("key", keys.KEYS)
def test_a_variable_leads_back_to_its_key(key: str) -> None:
    assert keys.variable(key).removeprefix("MINDBOT_").lower().replace("__", ".") == key
