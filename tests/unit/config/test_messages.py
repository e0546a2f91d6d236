"""What people read when settings are refused: one plain line with the key, the value and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mindbot_config.errors import ConfigError
from mindbot_config.load import from_environ, load
from mindbot_config.settings import Settings

Write = Callable[[str, str], Path]

AT = "(file mindbot.toml)"
LISTEN = 'must be HOST:PORT, such as "127.0.0.1:8090" or "[::1]:8090", or "off"'
HOST = 'must be a host name without a port, such as "pool.example.org"'
LINE = "must be NAME=value, a comment or empty"

IN_FILE = {
    "[pool]\nworkers = 0": f"pool.workers = 0 {AT}: must be 1 or more",
    "[pool]\nworkers = 4096": f"pool.workers = 4096 {AT}: must be 1024 or less",
    "[pool]\nworkers = 'four'": f'pool.workers = "four" {AT}: must be a whole number',
    "[pool]\nworkers = '4'": f'pool.workers = "4" {AT}: must be a whole number',
    "[pool]\nworkers = true": f"pool.workers = true {AT}: must be a whole number",
    "[pool]\nworkers = 4.5": f"pool.workers = 4.5 {AT}: must be a whole number",
    "[pool]\nworkers = 1979-05-27": f'pool.workers = "1979-05-27" {AT}: must be a whole number',
    "[pool]\nworkers = {}": f"pool.workers = {{}} {AT}: must be a whole number",
    "[pool]\nworkres = 4": "file mindbot.toml: unknown key pool.workres; did you mean pool.workers?",
    "workers = 4": "file mindbot.toml: unknown key workers; did you mean pool.workers?",
    "[poll]\nworkers = 4": "file mindbot.toml: unknown key poll.workers; did you mean pool.workers?",
    "[poll]": "file mindbot.toml: unknown key poll; did you mean pool?",
    "[quite.other]\nx = 1": "file mindbot.toml: unknown key quite.other",
    '"\\u001b[31m\\nx" = 1': "file mindbot.toml: unknown key [31m x",
    'openai_api_key = "sk-0123456789"': "file mindbot.toml: unknown key openai_api_key; "
    "credentials belong in the environment or the env file",
    "pool = 3": f"pool {AT}: must be a section with keys",
    "[[pool]]\nworkers = 3": f"pool {AT}: must be a section with keys",
    "[pool]\nagent = 'a.b'": f'pool.agent = "a.b" {AT}: must be MODULE:ATTR, such as mindbot_worker.mindbot:server',
    '[pool]\ncommand = "x \'y"': f'pool.command = "x \'y" {AT}: '
    "must be a command line as a shell reads it (no closing quotation)",
    "[pool]\nmax_unavailable = 5": f"pool.max_unavailable = 5 {AT}: must be at most pool.workers = 4 (default)",
    "[pool]\nagent = 'a:b'\ncommand = 'c'": f'pool.command = "c" {AT}: cannot go together with '
    f'pool.agent = "a:b" {AT}: set one of them',
    "[pool]\nmax_draining = 'x'": f'pool.max_draining = "x" {AT}: must be a whole number or "auto"',
    "[limits]\nmemory_soft_mb = -1": f'limits.memory_soft_mb = -1 {AT}: must be more than 0 or "auto"',
    "[limits]\nerror_window = inf": f"limits.error_window = Infinity {AT}: must be a finite number",
    "[limits]\nsuspect_after = 12": f"limits.suspect_after = 12 {AT}: "
    "must be less than limits.hung_after = 10 (default)",
    "[limits]\nhung_after = 2": f"limits.hung_after = 2 {AT}: must be more than limits.suspect_after = 3 (default)",
    "[limits]\nbeat_interval = 2": f"limits.beat_interval = 2 {AT}: "
    "must be at most half of limits.suspect_after = 3 (default)",
    "[limits]\nmemory_soft_mb = 9\nmemory_hard_mb = 5.5": f"limits.memory_soft_mb = 9 {AT}: "
    f"must be less than limits.memory_hard_mb = 5.5 {AT}",
    "[restart]\nbackoff_max = 0.1": f"restart.backoff_max = 0.1 {AT}: "
    "must be at least restart.backoff_base = 0.5 (default)",
    "[voice]\nmin_silence_duration = 0.1": f"voice.min_silence_duration = 0.1 {AT}: must be 0.25 or more with "
    'voice.turn_detection = "model" (default), or set voice.turn_detection = "vad"',
    "[voice]\nvoice = ''": f'voice.voice = "" {AT}: must not be empty',
    "[voice]\nvoice = 3": f"voice.voice = 3 {AT}: must be text in quotes",
    "[voice]\ninstructions = 3": f"voice.instructions = 3 {AT}: must be text in quotes",
    '[voice]\ngreeting = "a\\u0000"': f'voice.greeting = "a\\u0000" {AT}: must not contain a NUL character',
    "[log]\nlevel = 'loud'": f'log.level = "loud" {AT}: must be "debug", "info", "warning" or "error"',
    "[log]\nlog_transcripts = 'yes'": f'log.log_transcripts = "yes" {AT}: must be true or false',
    "[log]\nlog_transcripts = 1": f"log.log_transcripts = 1 {AT}: must be true or false",
    "[http]\nlisten = '8090'": f'http.listen = "8090" {AT}: {LISTEN}',
    "[http]\nallowed_hosts = ['a b']": f'http.allowed_hosts = ["a b"] {AT}: {HOST}',
    "[http]\nallowed_hosts = ['a:80']": f'http.allowed_hosts = ["a:80"] {AT}: {HOST}',
    "[http]\nallowed_hosts = 'a'": f'http.allowed_hosts = "a" {AT}: must be a list',
    "[http]\nmax_connections = 1": f"http.max_connections = 1 {AT}: must be 4 or more",
    "[http]\nidle_timeout = 0": f"http.idle_timeout = 0 {AT}: must be 1 or more",
    "socket = 3": f"socket = 3 {AT}: must be a path in quotes",
    "socket = '~/x'": f'socket = "~/x" {AT}: must be written out: "~" is not expanded',
    "[notify]\nevents = 'slot.parked'": f'notify.events = "slot.parked" {AT}: must be a list',
    "[notify]\nevents = ['slot.park']": f'notify.events = ["slot.park"] {AT}: '
    '"slot.park" is not one; did you mean "slot.parked"?',
    "[notify]\nwebhook_url = 'ftp://me:pass@h:21/T0'": f'notify.webhook_url = "ftp://h:21/***" {AT}: '
    "must be an http:// or https:// URL with a host, or empty",
    "[pool]\nworkers = 0\nworkres = 1": "file mindbot.toml: unknown key pool.workres; did you mean pool.workers?; "
    f"pool.workers = 0 {AT}: must be 1 or more",
    "[pool\nworkers = 4": "file mindbot.toml, line 1, column 6: cannot be read as TOML: "
    "expected ']' at the end of a table declaration",
    "x = [": "file mindbot.toml, end of document: cannot be read as TOML: invalid value",
    "x = " + "9" * 5000: "file mindbot.toml: cannot be read as TOML: a number is too long",
    "x = " + "[" * 100_000: "file mindbot.toml: cannot be read as TOML: nested too deeply",
}

IN_ENVIRON = {
    ("POOL__WORKERS", "many"): 'pool.workers = "many" (environment {}): must be a whole number',
    ("POOL__WORKERS", ""): 'pool.workers = "" (environment {}): must be a whole number',
    ("POOL__WORKERS", "0"): 'pool.workers = "0" (environment {}): must be 1 or more',
    ("LIMITS__MAX_ERRORS", "abc"): 'limits.max_errors = "abc" (environment {}): must be a whole number',
    ("LIMITS__CPU_WINDOW", "nan"): 'limits.cpu_window = "nan" (environment {}): must be a finite number',
    ("LIMITS__MEMORY_SOFT_MB", "x"): 'limits.memory_soft_mb = "x" (environment {}): must be a number or "auto"',
    ("ENV__WATCH", "perhaps"): 'env.watch = "perhaps" (environment {}): must be true or false',
    ("POOL__WORKRES", "4"): "environment {}: unknown setting; did you mean MINDBOT_POOL__WORKERS?",
    ("POLL__WORKERS", "4"): "environment {}: unknown setting; did you mean MINDBOT_POOL__WORKERS?",
    ("POOL_WORKERS", "4"): "environment {}: unknown setting; did you mean MINDBOT_POOL__WORKERS?",
    ("QUITE__OTHER", "4"): "environment {}: unknown setting",
    ("POOL", "{"): "pool (environment {}): must be a JSON object of its keys",
    ("POOL", "[" * 100_000): "pool (environment {}): must be a JSON object of its keys",
    ("POOL", "3"): "pool (environment {}): must be a section with keys",
    ("POOL", '{"x": 3}'): "environment {}: unknown setting MINDBOT_POOL__X",
    ("NOTIFY__EVENTS", "x"): 'notify.events = "x" (environment {}): must be a JSON list, such as ["a", "b"]',
    ("NOTIFY__EVENTS", "3"): "notify.events = 3 (environment {}): must be a list",
}

IN_ENV_FILE = {
    "A": f"env file e, line 1: {LINE}",
    "A=1\n\n\nB C=2\nD=3": f"env file e, line 4: {LINE}",
    "A='x": "env file e, line 1: the quote ' is not closed",
    "=1\nA": f"env file e, line 1: {LINE}; env file e, line 2: {LINE}",
    "A=1\nB=\0": "env file e, line 2: must not contain a NUL character",
    "MINDBOT_POOL__WORKERS=x": 'pool.workers = "x" (env file e): must be a whole number',
    "MINDBOT_POOL__WORKRES=1": "env file e: unknown setting MINDBOT_POOL__WORKRES; did you mean MINDBOT_POOL__WORKERS?",
    "MINDBOT_ENV__FILE=x": "env file e: MINDBOT_ENV__FILE cannot be set here",
    "MINDBOT_CONFIG=x": "env file e: MINDBOT_CONFIG cannot be set here",
}


def refusal(flags: dict[str, Any], config: Path | None, environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(flags, config, environ)
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, OSError)
    return str(caught.value)


@pytest.mark.parametrize(("text", "message"), IN_FILE.items(), ids=[text[:40] for text in IN_FILE])
def test_a_wrong_file_is_refused_in_one_line(text: str, message: str, write: Write) -> None:
    assert refusal({}, write("mindbot.toml", text), {}) == message


@pytest.mark.parametrize(("variable", "message"), IN_ENVIRON.items(), ids=[f"{n}={v[:9]}" for n, v in IN_ENVIRON])
def test_a_wrong_variable_is_refused_in_one_line(variable: tuple[str, str], message: str) -> None:
    name = f"MINDBOT_{variable[0]}"
    assert refusal({}, None, {name: variable[1]}) == message.format(name)
    with pytest.raises(ConfigError, match=r"^[^\n]+$"):
        from_environ({name: variable[1]})


@pytest.mark.parametrize(("text", "message"), IN_ENV_FILE.items(), ids=[ascii(text) for text in IN_ENV_FILE])
def test_a_wrong_env_file_is_refused_with_its_line(text: str, message: str, write: Write) -> None:
    write("e", text)
    assert refusal({"env": {"file": Path("e")}}, None, {}) == message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"pool": {"workers": 0}}, "pool.workers = 0 (flag --workers): must be 1 or more"),
        ({"http": {"listen": "x"}}, f'http.listen = "x" (flag --http): {LISTEN}'),
        ({"env": {"file": Path("none")}}, "env file none: cannot be read: No such file or directory"),
    ],
)
def test_a_wrong_flag_is_refused_by_its_name(flags: dict[str, Any], message: str) -> None:
    assert refusal(flags, None, {}) == message


@pytest.mark.parametrize(
    ("config", "environ", "message"),
    [
        (Path("none"), {}, "file none: cannot be read: No such file or directory"),
        (Path(), {}, "file .: cannot be read: Is a directory"),
        (Path("a\0b"), {}, "file a b: must be the path of a file"),
        (None, {"MINDBOT_CONFIG": "none"}, "file none: cannot be read: No such file or directory"),
        (Path("latin1"), {}, "file latin1, line 2: must be UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(config: Path | None, environ: dict[str, str], message: str) -> None:
    Path("latin1").write_bytes("# ok\n# caf\xe9\n".encode("latin1"))
    assert refusal({}, config, environ) == message


def test_an_env_file_may_have_any_name(write: Write) -> None:
    write("{x} {}", "MINDBOT_POOL__WORKERS=0")
    message = refusal({"env": {"file": "{x} {}"}}, None, {})
    assert message == 'pool.workers = "0" (env file {x} {}): must be 1 or more'


def test_a_systemd_credential_that_cannot_be_read_is_named() -> None:
    Path("creds/OPENAI_API_KEY").mkdir(parents=True)
    message = refusal({}, None, {"CREDENTIALS_DIRECTORY": str(Path("creds").absolute())})
    assert message == "systemd credential OPENAI_API_KEY: cannot be read: Is a directory"


@pytest.mark.parametrize(
    "text",
    [
        "[notify]\nwebhook_url = 'https://hooks.example:x/s3cret-token'",
        "[notify]\nwebhook_url = 's3cret-token'",
        "[notify]\nwebhook_url = ['s3cret-token']",
        "[voice]\nopenai_api_key = 's3cret-token'",
        "[pool]\ncommand = 'agent --key s3cret-token \"'",
        "[pool]\ncommand = 'agent " + "x" * 40 + " s3cret-token \"'",
        "[voice]\nturn_detection = 's3cret-token'",
        "[s3cret-token]",
        "notify = 'https://hooks.example/s3cret'",
    ],
)
def test_a_secret_is_never_echoed(text: str, write: Write) -> None:
    message = refusal({}, write("mindbot.toml", text), {"DEEPGRAM_API_KEY": "s3cret-token"})
    assert "s3cret" not in message


def test_a_secret_in_a_section_that_is_no_json_is_never_echoed() -> None:
    assert "s3cret" not in refusal({}, None, {"MINDBOT_NOTIFY": '{"webhook_url": "https://hooks.example/s3cret",}'})


def test_a_secret_of_the_env_file_is_never_echoed(write: Write) -> None:
    write("e", "OPENAI_API_KEY=s3cret-token\nMINDBOT_LOG__LEVEL=s3cret-token")
    assert "s3cret" not in refusal({"env": {"file": "e"}}, None, {})
    write("e", "OPENAI_API_KEY=s3cret-token\nOPENAI_API_KEY s3cret-token")
    assert "s3cret" not in refusal({"env": {"file": "e"}}, None, {})


def test_the_representation_of_settings_has_no_secret() -> None:
    loaded = load(
        {"notify": {"webhook_url": "https://hooks.example/s3cret"}, "voice": {"openai_base_url": "http://a/s3cret"}},
        None,
        {"OPENAI_API_KEY": "s3cret-key"},
    )
    assert "s3cret" not in repr(loaded) + str(loaded.settings)
    assert isinstance(loaded.settings, Settings)
