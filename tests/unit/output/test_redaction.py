"""No secret gets through, however it is written, and what is no secret stays as it is."""

import base64
import json
import re
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindbot_config.output import strict_json
from mindbot_config.output.redaction import CUT_MIN, MASK, Redactor

PLAIN = "canary0plain0value"
AWKWARD = 'canäry "quoted"\\and/slash\twith tab'
BODY = "MIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\nshort"
PEM = f"-----BEGIN PRIVATE KEY-----\n{BODY}\n-----END PRIVATE KEY-----\n"
KEY_FILE = json.dumps({"type": "service_account", "private_key": PEM, "client_id": "104"})


def twice(text, **how):
    return json.dumps(json.dumps(text, **how), **how)


SPELLINGS = {
    "plain": str,
    "repr": repr,
    "bytes": lambda text: repr(text.encode()),
    "json": json.dumps,
    "json with its own letters": lambda text: json.dumps(text, ensure_ascii=False),
    "json in json": twice,
    "json in json with its own letters": lambda text: twice(text, ensure_ascii=False),
    "json with \\/": lambda text: json.dumps(text).replace("/", r"\/"),
    "url": lambda text: quote(text, safe=""),
    "url path": quote,
    "url form": quote_plus,
    "url in small letters": lambda text: re.sub("%..", lambda found: found.group().lower(), quote(text, safe="")),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 after one byte": lambda text: base64.b64encode(b":" + text.encode()).decode(),
    "base64 after two bytes": lambda text: base64.b64encode(b"u:" + text.encode() + b"@").decode(),
    "base64 for urls": lambda text: base64.urlsafe_b64encode(b"user:" + text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
}


@pytest.mark.parametrize("secret", [PLAIN, AWKWARD])
@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_value_is_masked_in_every_spelling(spell, secret):
    told = spell(secret)
    shown = Redactor([secret])(f"before {told} after")
    assert MASK in shown and shown.startswith("before ") and shown.endswith(" after")
    core = told.strip("'\"b=\\")[4:-4]
    assert core not in shown


@given(st.text(min_size=8, max_size=40).filter(lambda text: len(text.strip()) >= 8))
def test_any_value_in_any_record_is_gone(secret):
    redact = Redactor([secret])
    record = {"event": "x", "text": f"a{secret}b", "deep": [{"k": secret}], "line": json.dumps({"v": secret})}
    shown = json.loads(strict_json.dumps(redact.clean(record)))
    assert secret not in shown["text"] and shown["deep"] == [{"k": MASK}]
    inner = shown["line"]
    assert json.dumps(secret)[1:-1] not in inner


def test_each_line_of_a_value_with_several_lines_is_masked_except_what_everybody_has():
    redact = Redactor([PEM])
    shown = redact("MIIEvQIBADANBgkqhkiG9w0B and AQEFAASCBKcwggSjAgEAAoIB; short -----BEGIN PRIVATE KEY-----")
    assert shown == f"{MASK} and {MASK}; short -----BEGIN PRIVATE KEY-----"
    assert "MIIE" not in redact(PEM) and "MIIE" not in redact(repr(PEM)) and "MIIE" not in redact(json.dumps(PEM))


def test_what_is_secret_in_a_key_file_is_masked_wherever_it_is():
    redact = Redactor([KEY_FILE])
    assert "MIIE" not in redact(PEM) and "MIIE" not in redact(f"key: {PEM.splitlines()[1]}")


@pytest.mark.parametrize("size", [6, 7, 12, len(PLAIN) - 1])
def test_a_part_that_is_left_of_a_secret_where_a_text_was_cut_is_masked(size):
    redact = Redactor([PLAIN])
    filler = "x " * CUT_MIN
    assert redact(filler + PLAIN[:size]) == filler + MASK
    assert redact(PLAIN[-size:] + filler) == MASK + filler
    assert redact.clean({"a": [filler + PLAIN[:size]]}) == {"a": [filler + MASK]}
    assert redact(PLAIN[-size:]) == PLAIN[-size:], "a short text was not cut: it is a word"


def test_a_short_value_is_masked_where_it_stands_alone_and_only_if_it_is_no_word():
    redact = Redactor(["s3cr3t", "secret", "local"])
    assert redact("with s3cr3t, not s3cr3tly; the secret is local") == f"with {MASK}, not s3cr3tly; the secret is local"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJkZXZrZXkifQ.c2lnbmF0dXJl", MASK),
        ("key sk-abcdefghij0123456789 used", f"key {MASK} used"),
        ("Authorization: Bearer abcdefghijkl", f"Authorization: Bearer {MASK}"),
        ('"Authorization": "Basic dXNlcjpwYXNz"', f'"Authorization": "Basic {MASK}"'),
        ("Token 0123456789abcdef0123456789abcdef", f"Token {MASK}"),
        ("wss://h?access_token=abcd.efgh&x=1", f"wss://h?access_token={MASK}&x=1"),
        ("postgres://me:hunter22@db:5432/x", f"postgres://me:{MASK}@db:5432/x"),
        ("amqp://:pw@mq", f"amqp://:{MASK}@mq"),
        ("https://0123456789abcdef0123@sentry.example/1", f"https://{MASK}@sentry.example/1"),
        ("host=db password=hunter22 dbname=x", f"host=db password={MASK} dbname=x"),
        ("OPENAI_API_KEY=abcd1234 DB_PASS=abcd X=1", f"OPENAI_API_KEY={MASK} DB_PASS={MASK} X=1"),
        ("agent --db-password hunter22 --port 80", f"agent --db-password {MASK} --port 80"),
        (PEM.strip(), f"-----BEGIN PRIVATE KEY-----{MASK}-----END PRIVATE KEY-----"),
        ("https://host:8080/path?x=1", "https://host:8080/path?x=1"),
        ("tokens=512 bypass=3 reason=hung value=3.5", "tokens=512 bypass=3 reason=hung value=3.5"),
    ],
)
def test_what_has_the_shape_of_a_credential_is_masked_and_nothing_else(text, shown):
    assert Redactor()(text) == shown


def test_a_field_is_masked_by_its_name():
    record = {"api_key": "x", "accessToken": "y", "Authorization": "z", "inner": {"db-password": "w", "monkey": "kept"}}
    expected = dict.fromkeys(("api_key", "accessToken", "Authorization"), MASK)
    assert Redactor().clean(record) == expected | {"inner": {"db-password": MASK, "monkey": "kept"}}
    usage = {"tokens_in": 5, "token": 5, "key": "pool.workers", "passed": True}
    assert Redactor().clean(usage) is usage


def test_a_secret_of_digits_leaves_numbers_numbers():
    redact = Redactor(["12345678"])
    record = {"pid": 1, "at": 912345678.5, "pin": 12345678, "text": "pin 12345678"}
    shown = json.loads(strict_json.dumps(redact.clean(record)))
    assert shown == {"pid": 1, "at": 912345678.5, "pin": MASK, "text": f"pin {MASK}"}


def test_a_secret_that_is_also_a_word_of_ours_breaks_no_key_that_it_is_not():
    assert Redactor(["registered1"]).clean({"registered": True, "x": "registered1"}) == {"registered": True, "x": MASK}


def test_what_holds_no_secret_is_not_even_copied():
    record = {"a": [1, 2.5, None, True, "text"], "b": {"c": "d"}}
    assert Redactor([PLAIN]).clean(record) is record


def test_a_value_nested_beyond_all_reason_is_survived():
    deep = [PLAIN]
    for _ in range(5000):
        deep = [deep]
    assert PLAIN not in strict_json.dumps(Redactor([PLAIN]).clean(deep))


@pytest.mark.parametrize(
    "unit",
    [
        "eyJ-",
        "eyJaaaaaaaaa.",
        "a-",
        "://a:",
        "sk-",
        "Bearer ",
        "--a-",
        "-----BEGIN PRIVATE KEY-----",
        "token=",
        "_pass",
    ],
)
def test_no_text_of_16_kib_takes_longer_than_it_should(unit):
    text = unit * (16 * 1024 // len(unit))
    began = time.process_time()
    Redactor([PLAIN])(text)
    assert time.process_time() - began < 0.5
