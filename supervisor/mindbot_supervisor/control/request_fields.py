"""The fields that each command of the control socket takes: strict types, and nothing unknown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

WORKERS_MAX = 1024

_WORDS = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "string_too_long": "must have {max_length} characters at most",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "missing": "is missing",
}


class BadFields(Exception):
    """A request that can never be right; the message says what would be."""


class Fields(BaseModel):
    """What every command's fields have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NoFields(Fields):
    pass


class OfWorker(Fields):
    worker: str = Field(max_length=64)
    """ "slot.generation" or a slot; for some commands also "all"."""


class Restart(OfWorker):
    now: bool = False


class Stop(Fields):
    now: bool = False


class Scale(Fields):
    """Either so many workers, or so many more (or fewer) than there are to be."""

    workers: int | None = Field(default=None, ge=1, le=WORKERS_MAX)
    change: int = Field(default=0, ge=-WORKERS_MAX, le=WORKERS_MAX)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.workers is None) == (self.change == 0):
            raise ValueError("must have either workers or change, a whole number")
        return self


@dataclass(frozen=True, slots=True)
class Command:
    """A command or a question: its fields, and what answers it. `run` may raise SupervisorError."""

    fields: type[Fields]
    run: Callable[[Any], Awaitable[dict[str, Any]]]


def read(name: str, kind: type[Fields], given: Mapping[str, object]) -> Fields:
    """The fields of a request. Raises BadFields with all that is wrong in one line."""
    try:
        return kind.model_validate(dict(given))
    except ValidationError as exc:
        found = "; ".join(_plain(detail, kind) for detail in exc.errors(include_url=False, include_input=False))
        raise BadFields(f"{name}: {found}") from None


def _plain(detail: Mapping[str, Any], kind: type[Fields]) -> str:
    field, what = str(detail["loc"][0])[:64] if detail["loc"] else "", str(detail["type"])
    if what == "extra_forbidden":
        known = " and ".join(f'"{each}"' for each in kind.model_fields) or "no fields"
        return f'unknown field "{field}"; it takes {known}'
    if not field:
        return str(detail["msg"]).removeprefix("Value error, ")
    words = _WORDS.get(what, str(detail["msg"]).lower())
    return f'"{field}" {words.format(**detail.get("ctx", {}))}'
