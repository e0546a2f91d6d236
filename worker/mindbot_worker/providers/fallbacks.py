"""Builds models with fallbacks, which are tried in order when one fails; without fallbacks, just the one model."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from livekit.agents import llm, stt, tts

from mindbot_worker.livekit_adapter.fallback_adapters import (
    RefusalAwareLLM,
    RefusalAwareSTT,
    RefusalAwareTTS,
    Refusals,
    is_refusal,
)

FALLBACK, RECOVERED = "provider.fallback", "provider.recovered"

_RETRIES = 1
"""How often a model is asked again before the next one is: most faults are gone by then.
LiveKit's own numbers differ by kind, up to two retries 2 s apart for speech: too long a silence where another model
could speak."""
_RETRY_AFTER = 0.5
_STT_CONNECTED_WITHIN = 5.0
"""Seconds for one attempt. (LiveKit's own: 10.) What is said while one model fails twice is lost to the next one."""

logger = logging.getLogger(__name__)

SpeechRecognition: TypeAlias = stt.STT[Any]
LanguageModel: TypeAlias = llm.LLM[Any]
SpeechSynthesis: TypeAlias = tts.TTS[Any]
Model = TypeVar("Model")


def speech_recognition(models: Iterable[str], make: Callable[[str], SpeechRecognition]) -> SpeechRecognition:
    """The recognition that `make` builds for the first of `models`, with the others as fallbacks."""
    made = _made(models, make)
    if len(made) == 1:
        return made[0]
    adapter = RefusalAwareSTT(
        made,
        attempt_timeout=_STT_CONNECTED_WITHIN,
        max_retry_per_stt=_RETRIES,
        retry_interval=_RETRY_AFTER,
    )
    _connect("stt", adapter, made)
    return adapter


def language_model(models: Iterable[str], make: Callable[[str], LanguageModel]) -> LanguageModel:
    """The language model that `make` builds for the first of `models`, with the others as fallbacks."""
    made = _made(models, make)
    if len(made) == 1:
        return made[0]
    adapter = RefusalAwareLLM(made, max_retry_per_llm=_RETRIES, retry_interval=_RETRY_AFTER)
    _connect("llm", adapter, made)
    return adapter


def speech_synthesis(models: Iterable[str], make: Callable[[str], SpeechSynthesis]) -> SpeechSynthesis:
    """The speech synthesis that `make` builds for the first of `models`, with the others as fallbacks."""
    made = _made(models, make)
    if len(made) == 1:
        return made[0]
    adapter = RefusalAwareTTS(made, max_retry_per_tts=_RETRIES)
    _connect("tts", adapter, made)
    return adapter


def _made(models: Iterable[str], make: Callable[[str], Model]) -> list[Model]:
    return [make(model) for model in dict.fromkeys(models)]


def _connect(kind: str, adapter: Any, models: Iterable[Any]) -> None:
    """Emit the models' errors as the adapter's own, and log whenever a model is given up or comes back."""
    left: set[str] = set()
    refusals: Refusals = adapter.refusals

    def on_error(model: Any, error: Any) -> None:
        if model.model in left:
            return
        if is_refusal(error.error):
            refusals.last = error.error  # the adapter's stream raises it, and that is told
            return
        adapter.emit("error", error.model_copy(update={"recoverable": True}))

    def on_availability(event: Any) -> None:
        model = getattr(event, kind).model
        if refusals.last is not None:
            return
        if event.available:
            left.discard(model)
            logger.info("a model is back", extra={"event": RECOVERED, "kind": kind, "model": model})
        else:
            left.add(model)
            logger.warning(
                "a model fails, the next one takes over",
                extra={"event": FALLBACK, "kind": kind, "model": model, "next": adapter.model},
            )

    for model in models:
        model.on("error", functools.partial(on_error, model))
    adapter.on(f"{kind}_availability_changed", on_availability)
