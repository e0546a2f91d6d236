"""Models that step in for one that fails, in their order: LiveKit's fallback adapters, built only where there are
any.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

from livekit.agents import NOT_GIVEN, APIConnectionError, APIConnectOptions, APIStatusError, NotGivenOr, llm, stt, tts
from livekit.agents.llm.fallback_adapter import FallbackLLMStream
from livekit.agents.stt.fallback_adapter import FallbackRecognizeStream
from livekit.agents.tts.fallback_adapter import FallbackChunkedStream

REFUSED = frozenset({401, 402})
"""Wrong key, no credit. A 403 is none of them: it may mean that this one model is not for us."""

_ONCE = APIConnectOptions(max_retry=0)
"""LiveKit's default for these adapters."""


def is_refusal(error: object) -> bool:
    return isinstance(error, APIStatusError) and error.status_code in REFUSED


class Refusals:
    """The refusal that the models of one adapter have met, while a stream is on its way to raise it."""

    def __init__(self) -> None:
        self.last: APIStatusError | None = None
        self._hidden: list[Any] = []

    def end_trials(self, models: list[Any], statuses: list[Any], failed: Any) -> bool:
        """After this one failed: True if a refusal was the reason. Then no other model is asked."""
        if self.last is None:
            return False
        if not self._hidden:
            # the model is no worse than the others: next time it is the first to be asked again
            pairs = zip(models, statuses, strict=True)
            self._hidden = [status for model, status in pairs if status.available or model is failed]
            for each in self._hidden:
                each.available = False
        return True

    @contextlib.contextmanager
    def raised(self) -> Iterator[None]:
        """A refusal instead of the adapter's word that all have failed."""
        try:
            yield
        except APIConnectionError:
            if self.last is not None:
                raise self.last from None
            raise
        finally:
            for each in self._hidden:
                each.available = True
            self._hidden, self.last = [], None


class Hearing(stt.FallbackAdapter):
    def __init__(self, models: list[stt.STT[Any]], **options: Any) -> None:
        super().__init__(models, **options)
        self.refusals = Refusals()

    def stream(
        self, *, language: NotGivenOr[str] = NOT_GIVEN, conn_options: APIConnectOptions = _ONCE
    ) -> stt.RecognizeStream:
        return _HearingStream(self, language, conn_options)


class _HearingStream(FallbackRecognizeStream):
    def __init__(self, adapter: Hearing, language: NotGivenOr[str], conn_options: APIConnectOptions) -> None:
        super().__init__(stt=adapter, language=language, conn_options=conn_options)
        self._adapter = adapter

    async def _run(self) -> None:
        with self._adapter.refusals.raised():
            await super()._run()

    def _try_recovery(self, model: stt.STT[Any]) -> None:
        if not self._adapter.refusals.end_trials(self._adapter._stt_instances, self._adapter._status, model):
            super()._try_recovery(model)


class Thinking(llm.FallbackAdapter):
    def __init__(self, models: list[llm.LLM[Any]], **options: Any) -> None:
        super().__init__(models, **options)
        self.refusals = Refusals()

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = _ONCE,
        **options: Any,
    ) -> llm.LLMStream:
        return _ThinkingStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options, **options)


class _ThinkingStream(FallbackLLMStream):
    def __init__(self, adapter: Thinking, **options: Any) -> None:
        super().__init__(adapter, **options)
        self._adapter = adapter

    async def _run(self) -> None:
        with self._adapter.refusals.raised():
            await super()._run()

    def _try_recovery(self, model: llm.LLM[Any]) -> None:
        if not self._adapter.refusals.end_trials(self._adapter._llm_instances, self._adapter._status, model):
            super()._try_recovery(model)


class Speaking(tts.FallbackAdapter):
    def __init__(self, models: list[tts.TTS[Any]], **options: Any) -> None:
        super().__init__(models, **options)
        self.refusals = Refusals()

    def synthesize(self, text: str, *, conn_options: APIConnectOptions = _ONCE) -> FallbackChunkedStream:
        return _SpeakingStream(self, text, conn_options)


class _SpeakingStream(FallbackChunkedStream):
    def __init__(self, adapter: Speaking, text: str, conn_options: APIConnectOptions) -> None:
        super().__init__(tts=adapter, input_text=text, conn_options=conn_options)
        self._adapter = adapter

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        with self._adapter.refusals.raised():
            await super()._run(output_emitter)

    def _try_recovery(self, model: tts.TTS[Any]) -> None:
        if not self._adapter.refusals.end_trials(self._adapter._tts_instances, self._adapter._status, model):
            super()._try_recovery(model)


FALLBACK, RECOVERED = "provider.fallback", "provider.recovered"

_RETRIES = 1
"""So often, after a tenth of a second, a model is asked again before the next one is: most faults are gone by then.
LiveKit's own numbers differ by kind, up to two retries 2 s apart for speech: too long a silence where another model
could speak."""
_RETRY_AFTER = 0.5
_STT_CONNECTED_WITHIN = 5.0
"""Seconds for one attempt. (LiveKit's own: 10.) What is said while one model fails twice is lost to the next one."""

logger = logging.getLogger(__name__)

Ears: TypeAlias = stt.STT[Any]
Mind: TypeAlias = llm.LLM[Any]
Mouth: TypeAlias = tts.TTS[Any]
Model = TypeVar("Model")


def hearing(models: Iterable[str], make: Callable[[str], Ears]) -> Ears:
    made = _made(models, make)
    if len(made) == 1:
        return made[0]
    adapter = Hearing(
        made,
        attempt_timeout=_STT_CONNECTED_WITHIN,
        max_retry_per_stt=_RETRIES,
        retry_interval=_RETRY_AFTER,
    )
    _pass_on("stt", adapter, made)
    return adapter


def thinking(models: Iterable[str], make: Callable[[str], Mind]) -> Mind:
    made = _made(models, make)
    if len(made) == 1:
        return made[0]
    adapter = Thinking(made, max_retry_per_llm=_RETRIES, retry_interval=_RETRY_AFTER)
    _pass_on("llm", adapter, made)
    return adapter


def speaking(models: Iterable[str], make: Callable[[str], Mouth]) -> Mouth:
    made = _made(models, make)
    if len(made) == 1:
        return made[0]
    adapter = Speaking(made, max_retry_per_tts=_RETRIES)
    _pass_on("tts", adapter, made)
    return adapter


def _made(models: Iterable[str], make: Callable[[str], Model]) -> list[Model]:
    return [make(model) for model in dict.fromkeys(models)]


def _pass_on(kind: str, adapter: Any, models: Iterable[Any]) -> None:
    """Errors of the models become the adapter's own, and whenever one is left or comes back, the log says so."""
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
