"""LiveKit's fallback adapters, except that a refused key ends the trials: no other model would accept it either.

They override private methods of LiveKit's adapters and read which of their models are available.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from livekit.agents import NOT_GIVEN, APIConnectionError, APIConnectOptions, APIStatusError, NotGivenOr, llm, stt, tts
from livekit.agents.llm.fallback_adapter import FallbackLLMStream
from livekit.agents.stt.fallback_adapter import FallbackRecognizeStream
from livekit.agents.tts.fallback_adapter import FallbackChunkedStream

REFUSED = frozenset({401, 402})
"""HTTP statuses of a wrong key and of no credit. A 403 may concern one model only, so it is not among them."""

_ONCE = APIConnectOptions(max_retry=0)
"""LiveKit's default for these adapters."""


def is_refusal(error: object) -> bool:
    """Whether a provider's error means that the key is refused or the account has no credit."""
    return isinstance(error, APIStatusError) and error.status_code in REFUSED


class Refusals:
    """Remembers that a provider refused the key of one adapter's models, until a stream has raised that error."""

    def __init__(self) -> None:
        self.last: APIStatusError | None = None
        self._hidden: list[Any] = []

    def end_trials(self, models: list[Any], statuses: list[Any], failed: Any) -> bool:
        """Called after the model `failed`: True if a refused key was the reason, and then no other model is asked."""
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
        """Raise the refusal itself instead of the adapter's error that all models have failed."""
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


class RefusalAwareSTT(stt.FallbackAdapter):
    """LiveKit's fallback adapter for speech recognition; a refused key ends its trials."""

    def __init__(self, models: list[stt.STT[Any]], **options: Any) -> None:
        super().__init__(models, **options)
        self.refusals = Refusals()

    def stream(
        self, *, language: NotGivenOr[str] = NOT_GIVEN, conn_options: APIConnectOptions = _ONCE
    ) -> stt.RecognizeStream:
        return _RefusalAwareSTTStream(self, language, conn_options)


class _RefusalAwareSTTStream(FallbackRecognizeStream):
    def __init__(self, adapter: RefusalAwareSTT, language: NotGivenOr[str], conn_options: APIConnectOptions) -> None:
        super().__init__(stt=adapter, language=language, conn_options=conn_options)
        self._adapter = adapter

    async def _run(self) -> None:
        with self._adapter.refusals.raised():
            await super()._run()

    def _try_recovery(self, model: stt.STT[Any]) -> None:
        if not self._adapter.refusals.end_trials(self._adapter._stt_instances, self._adapter._status, model):
            super()._try_recovery(model)


class RefusalAwareLLM(llm.FallbackAdapter):
    """LiveKit's fallback adapter for language models; a refused key ends its trials."""

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
        return _RefusalAwareLLMStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options, **options)


class _RefusalAwareLLMStream(FallbackLLMStream):
    def __init__(self, adapter: RefusalAwareLLM, **options: Any) -> None:
        super().__init__(adapter, **options)
        self._adapter = adapter

    async def _run(self) -> None:
        with self._adapter.refusals.raised():
            await super()._run()

    def _try_recovery(self, model: llm.LLM[Any]) -> None:
        if not self._adapter.refusals.end_trials(self._adapter._llm_instances, self._adapter._status, model):
            super()._try_recovery(model)


class RefusalAwareTTS(tts.FallbackAdapter):
    """LiveKit's fallback adapter for speech synthesis; a refused key ends its trials."""

    def __init__(self, models: list[tts.TTS[Any]], **options: Any) -> None:
        super().__init__(models, **options)
        self.refusals = Refusals()

    def synthesize(self, text: str, *, conn_options: APIConnectOptions = _ONCE) -> FallbackChunkedStream:
        return _RefusalAwareTTSStream(self, text, conn_options)


class _RefusalAwareTTSStream(FallbackChunkedStream):
    def __init__(self, adapter: RefusalAwareTTS, text: str, conn_options: APIConnectOptions) -> None:
        super().__init__(tts=adapter, input_text=text, conn_options=conn_options)
        self._adapter = adapter

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        with self._adapter.refusals.raised():
            await super()._run(output_emitter)

    def _try_recovery(self, model: tts.TTS[Any]) -> None:
        if not self._adapter.refusals.end_trials(self._adapter._tts_instances, self._adapter._status, model):
            super()._try_recovery(model)
