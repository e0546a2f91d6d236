"""The example files, made from the models: `python -m mindbot_config.example [DIRECTORY]` writes them."""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mindbot_config import keys
from mindbot_config.credentials import NAMES, WEBHOOK_SECRET
from mindbot_config.settings import Settings

TOML_NAME, ENV_NAME = "mindbot.example.toml", "env.example"
_WIDTH = 118

_HEAD = """\
Every setting of mindbot-supervisor, with its default.

Copy it to mindbot.toml in the working directory or to /etc/mindbot/mindbot.toml, or name it with --config or
MINDBOT_CONFIG; keep only the lines that you change. Flags win over MINDBOT_* variables (workers in [pool] is
MINDBOT_POOL__WORKERS, with two underscores), these over this file, and this file over the defaults.
Durations are seconds, memory is MiB, and an empty text means "none".

`mindbot-supervisor config check` validates it; `config show` prints every effective value with its source.
An unknown key, a wrong type or an impossible combination is refused at start and at reload.
Credentials do not belong here: see env.example.

This file is made by `python -m mindbot_config.example`."""

_ENV_HEAD = """\
The credentials of mindbot-supervisor, as NAME=value lines.

Copy it to a file of mode 0600 and name that with --env-file, [env] file or MINDBOT_ENV__FILE. What is set here
overrides the inherited environment, an empty value too: remove the lines that you do not fill in. Every worker gets
it. systemd credentials of the same names (LoadCredential=OPENAI_API_KEY:...) fill in what is empty or not set.
Values are taken as they are: $NAME is not replaced; put values with spaces or # in quotes.
`mindbot-supervisor config check` says which are missing or malformed.

This file is made by `python -m mindbot_config.example`."""

_ENV_TAIL = """\
Any setting may stand here too, as MINDBOT_ and its name in capitals, a section and its key joined by two
underscores; lists are JSON. For example:"""


def toml() -> str:
    """The text of mindbot.example.toml."""
    parts = [_comment(_HEAD), *_fields("", Settings)]
    for name, section in keys.SECTIONS.items():
        parts += [f"\n[{name}]\n{_comment(' '.join((section.__doc__ or '').split()))}", *_fields(f"{name}.", section)]
    return "\n\n".join(parts) + "\n"


def env() -> str:
    """The text of env.example."""
    docs = documentation(Settings)
    lines = [f"{_comment(docs[name.lower()])}\n{name}=" for name in NAMES]
    examples = {"pool.workers": "4", "log.level": "debug", "notify.events": '["slot.parked", "pool.held"]'}
    settings = "\n".join(f"# {keys.variable(key)}={value}" for key, value in examples.items())
    signing = f"{_comment(docs['webhook_secret'])}\n# {WEBHOOK_SECRET}="
    return "\n\n".join([_comment(_ENV_HEAD), *lines, signing, f"{_comment(_ENV_TAIL)}\n{settings}"]) + "\n"


def _fields(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    properties = model.model_json_schema()["properties"]
    for name, doc in documentation(model).items():
        if prefix + name not in keys.DEFAULTS:  # a credential
            continue
        allowed = _allowed(properties[name])
        comment = _comment(f"{doc}\nAllowed: {allowed}." if allowed else doc)
        yield f"{comment}\n{name} = {_toml_value(keys.DEFAULTS[prefix + name])}"


def documentation(model: type[BaseModel]) -> dict[str, str]:
    """Field name -> the docstring below it in the source, as one paragraph."""
    tree = ast.parse(inspect.getsource(model)).body[0]
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    found = {}
    for field, text in pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                found[name] = " ".join(doc.split())
    return found


def _allowed(schema: dict[str, Any]) -> str:
    """The values that a field takes, where they are few or have bounds."""
    if "anyOf" in schema:
        return ", or ".join(filter(None, map(_allowed, reversed(schema["anyOf"]))))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return ", ".join(map(json.dumps, schema["enum"]))
    if "items" in schema:
        each = _allowed(schema["items"])
        return f"any of {each}" if each else ""
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if low is not None:
        return f"{low:g} or more"
    if "exclusiveMinimum" in schema:
        above = f"more than {schema['exclusiveMinimum']:g}"
        return above if high is None else f"{above}, up to {high:g}"
    return ""


def _comment(text: str) -> str:
    lines: list[str] = []
    for line in text.splitlines():
        lines += textwrap.wrap(line, _WIDTH - 2, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(f"# {line}".rstrip() for line in lines)


def _toml_value(value: Any) -> str:
    if value is None:
        return '""'
    if isinstance(value, tuple):
        return "[]" if not value else "[\n" + "".join(f"    {json.dumps(item)},\n" for item in value) + "]"
    if isinstance(value, str) and len(value) > _WIDTH - 20:
        lines = textwrap.wrap(value, _WIDTH - 10, drop_whitespace=False, break_on_hyphens=False)
        return (
            '"""\\\n' + "".join(f"    {json.dumps(line, ensure_ascii=False)[1:-1]}\\\n" for line in lines) + '    """'
        )
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def main() -> None:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "config")
    (directory / TOML_NAME).write_text(toml())
    (directory / ENV_NAME).write_text(env())


if __name__ == "__main__":
    main()
