"""What people read about settings: why they are refused, in plain words, and values as TOML writes them.

A refusal names the key, the value, where it comes from, and what would be right; no secret is ever in it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mindbot_config import keys
from mindbot_config.credentials import NAMES, mask_command, mask_urls
from mindbot_config.output import strict_json
from mindbot_config.output.redaction import MASK
from mindbot_config.settings import Clash, ClashError

if TYPE_CHECKING:
    from pydantic import ValidationError

_SECRET_KEY = re.compile(r"(^|_)(url|secret|key|token|password)$", re.IGNORECASE)
_LENGTH_MAX = 60

_CHOICES_MAX = 200
"""Characters; a longer list of choices is shown only where none of them is near."""

_WORDS = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "string_unicode": "must be UTF-8 text",
    "string_too_short": "must not be empty",
    "path_type": "must be a path in quotes",
    "tuple_type": "must be a list",
    "model_type": "must be a section with keys",
    "extra_forbidden": "unknown key",
}


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody gave, and where."""

    value: Any
    source: str


@dataclass(frozen=True)
class Finding:
    """One of pydantic's error details."""

    kind: str
    value: Any
    message: str
    context: Mapping[str, Any]


def findings(error: ValidationError, section: str = "") -> dict[str, list[Finding]]:
    """The findings of each key; those of whole combinations under "". A union has one finding for each member.

    `section` is the one that was validated, where it was not the whole.
    """
    found = defaultdict(list)
    for detail in error.errors(include_url=False):
        finding = Finding(detail["type"], detail["input"], detail["msg"], detail.get("ctx", {}))
        found[_key((section, *detail["loc"]) if section else detail["loc"])].append(finding)
    return dict(found)


def lines(found: Mapping[str, list[Finding]], given: Mapping[str, Given]) -> list[str]:
    """One plain line for each key and each clash."""
    plain = []
    for key, of_key in found.items():
        if key:
            said = given.get(key) or Given(of_key[0].value, "default")
            plain.append(f"{key} = {quoted(key, said.value)} ({said.source}): {_alternatives(of_key)}")
        else:
            plain += [_clash(clash, given) for finding in of_key for clash in _clashes(finding)]
    return plain


def is_of_wrong_type(of_key: list[Finding]) -> bool:
    return any(finding.kind.endswith("_type") or finding.kind == "int_from_float" for finding in of_key)


def _key(loc: tuple[int | str, ...]) -> str:
    depth = 2 if loc and loc[0] in keys.SECTIONS else 1
    return ".".join(str(part) for part in loc[:depth])


def _alternatives(of_key: list[Finding]) -> str:
    first, *others = dict.fromkeys(map(_words, of_key))
    return " or ".join([first, *(other.removeprefix("must be ") for other in others)])


def _words(finding: Finding) -> str:
    context = finding.context
    match finding.kind:
        case "literal_error":
            return _choice(context["expected"].replace("'", '"'), str(finding.value))
        case "value_error":
            return str(context["error"])
        case kind if kind in _WORDS:
            return _WORDS[kind].format(**{name: _number(value) for name, value in context.items()})
    return finding.message.replace("Input should", "must", 1)


def _choice(expected: str, value: str) -> str:
    """All that is allowed, or the nearest of many."""
    near = difflib.get_close_matches(f'"{value}"', expected.replace(" or ", ", ").split(", "), n=1)
    if len(expected) > _CHOICES_MAX and near:
        return f'"{value}" is not one; did you mean {near[0]}?'
    return f"must be {expected}"


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _clashes(finding: Finding) -> tuple[Clash, ...]:
    problem = finding.context.get("error")
    return problem.clashes if isinstance(problem, ClashError) else ()


def _clash(clash: Clash, given: Mapping[str, Given]) -> str:
    """The line begins with a key that somebody gave, not with a default."""
    if clash.key not in given and clash.other in given:
        clash = clash.swapped()
    this, other = (
        f"{key} = {quoted(key, value)} ({given[key].source if key in given else 'default'})"
        for key, value in ((clash.key, clash.value), (clash.other, clash.other_value))
    )
    return f"{this}: {clash.must} {other}{clash.hint}"


# -- keys that there are not -------------------------------------------------------------------------------------------


def unknown_key(key: str, where: str) -> str:
    if key.rpartition(".")[2].upper() in NAMES:
        return f"{where}: unknown key {key}; credentials belong in the environment or the env file"
    meant = suggest(key)
    return f"{where}: unknown key {key}" + (f"; did you mean {meant}?" if meant else "")


def unknown_variable(key: str, where: str) -> str:
    name = keys.variable(key)
    meant = suggest(key if "." in key else key.replace("_", ".", 1))
    what = "unknown setting" if where.endswith(name) else f"unknown setting {name}"
    return f"{where}: {what}" + (f"; did you mean {keys.variable(meant)}?" if meant else "")


def suggest(key: str) -> str | None:
    """The key that somebody who wrote this unknown one probably meant."""
    namesakes = [known for known in keys.KEYS if known.rpartition(".")[2] == key.rpartition(".")[2]]
    if len(namesakes) == 1:
        return namesakes[0]
    known = keys.KEYS if "." in key else (*keys.KEYS, *keys.SECTIONS)
    return next(iter(difflib.get_close_matches(key, known, n=1, cutoff=0.7)), None)


# -- values ------------------------------------------------------------------------------------------------------------


def shown(key: str, value: Any) -> str:
    """The whole value as TOML writes it; of what may hold a secret only the host."""
    if value is None:
        return '""'
    if value and _SECRET_KEY.search(key.rpartition(".")[2]):
        value = host_only(str(value))
    elif isinstance(value, str):
        value = mask_command(value) if key == "pool.command" else mask_urls(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return strict_json.dumps(value)


def quoted(key: str, value: Any) -> str:
    """The value within an error message; where it is long, it is cut between words, so that no secret is cut in two."""
    text = shown(key, value)
    return text if len(text) <= _LENGTH_MAX else text[:_LENGTH_MAX].rpartition(" ")[0] + " …"


def host_only(url: str) -> str:
    """Scheme, host and port of a URL; nothing of what is no URL."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return MASK
    if not (parts.scheme and parts.hostname):
        return MASK
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    bare = f"{parts.scheme}://{host}{port}"
    return bare if url.rstrip("/") == bare else f"{bare}/{MASK}"
