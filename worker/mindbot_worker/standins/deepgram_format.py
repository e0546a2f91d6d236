"""Reads the query parameters of Deepgram's API, and writes its JSON messages."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mindbot_worker.standins.transcription import Asked, Began, Event, UtteranceEnded, Words

_QUESTIONS = {"what", "where", "when", "who", "why", "how", "which", "is", "are", "can", "could", "do", "does", "will"}
# 48 kHz is the most a browser sends; under 8 kHz the recogniser's band is not there.
_RATES = range(8_000, 48_001)


class BadQuery(ValueError):
    """Parameters this API would refuse; the message says which."""


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters that change what a stream does; all others are only recorded."""

    model: str
    language: str
    rate: int
    channels: int
    punctuate: bool
    vad_events: bool
    asked: Asked

    @classmethod
    def streaming(cls, query: Mapping[str, str]) -> Query:
        if query.get("encoding", "linear16") != "linear16":
            raise BadQuery(f"the local stand-in hears linear16 only, not {query['encoding']}")
        return cls(
            model=query.get("model", "nova-3"),
            language=query.get("language", "en"),
            rate=_whole(query, "sample_rate", 16_000, _RATES),
            channels=_whole(query, "channels", 1, range(1, 9)),
            punctuate=_flag(query, "punctuate") or _flag(query, "smart_format"),
            vad_events=_flag(query, "vad_events"),
            asked=_asked(query),
        )

    @classmethod
    def recorded(cls, query: Mapping[str, str]) -> Query:
        return cls.streaming({key: query[key] for key in query if key not in ("encoding", "sample_rate", "channels")})


@dataclass(frozen=True, slots=True)
class Messages:
    """Writes the messages of one request."""

    query: Query
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def of(self, event: Event, *, from_finalize: bool = False) -> dict[str, Any] | None:
        """The message for an event; None if the client did not ask for its kind."""
        channel = [0, self.query.channels]
        match event:
            case Began(at):
                said = {"type": "SpeechStarted", "channel": channel, "timestamp": round(at, 3)}
                return said if self.query.vad_events else None
            case UtteranceEnded(last):
                return {"type": "UtteranceEnd", "channel": channel, "last_word_end": round(last, 3)}
            case Words():
                return self._results(event, channel, from_finalize)

    def _results(self, words: Words, channel: list[int], from_finalize: bool) -> dict[str, Any]:
        return {
            "type": "Results",
            "channel_index": channel,
            "duration": round(words.end - words.start, 3),
            "start": round(words.start, 3),
            "is_final": words.final,
            "speech_final": words.endpoint,
            "from_finalize": from_finalize,
            "channel": {"alternatives": [self.alternative([words])]},
            "metadata": {"request_id": self.request_id, "model_info": {"name": self.query.model, "arch": "local"}},
        }

    def alternative(self, heard: list[Words]) -> dict[str, Any]:
        """The transcript of one or several utterances, with the times of its words."""
        words = [word for each in heard for word in self._timed(each)]
        spelling = "punctuated_word" if self.query.punctuate else "word"
        return {
            "transcript": " ".join(word[spelling] for word in words),
            "confidence": min((each.confidence for each in heard), default=0.0),
            "words": words,
        }

    def metadata(self, duration: float) -> dict[str, Any]:
        return {
            "type": "Metadata",
            "request_id": self.request_id,
            "duration": round(duration, 3),
            "channels": self.query.channels,
            "models": [self.query.model],
        }

    def recorded(self, heard: list[Words], duration: float) -> dict[str, Any]:
        """The answer to a whole recording."""
        metadata = {key: value for key, value in self.metadata(duration).items() if key != "type"}
        channel = {"alternatives": [self.alternative(heard)], "detected_language": "en"}
        return {"metadata": metadata, "results": {"channels": [channel]}}

    def _timed(self, heard: Words) -> list[dict[str, Any]]:
        """Each word with its share of the utterance's time, by its length."""
        shown = written(heard.text, heard.final).split()
        total, at, timed = sum(map(len, shown)), heard.start, []
        for word in shown:
            end = at + (heard.end - heard.start) * len(word) / total
            bare = word.rstrip(".?").lower()
            times = {"start": round(at, 3), "end": round(end, 3)}
            timed.append({"word": bare, "punctuated_word": word, "confidence": heard.confidence, **times})
            at = end
        return timed


def written(text: str, final: bool) -> str:
    """With a capital, and an end mark once it is final."""
    mark = "?" if text.split(" ", 1)[0].lower() in _QUESTIONS else "."
    return text[:1].upper() + text[1:] + (mark if final else "")


def _asked(query: Mapping[str, str]) -> Asked:
    endpointing: float | None = 0.01
    if query.get("endpointing", "true") == "false":
        endpointing = None
    elif query.get("endpointing", "true") != "true":
        endpointing = _whole(query, "endpointing", 10, range(60_001)) / 1000
    interim = _flag(query, "interim_results")
    utterance_end = _whole(query, "utterance_end_ms", 0, range(60_001)) / 1000
    if utterance_end and not (interim and utterance_end >= 1.0):
        raise BadQuery("utterance_end_ms is at least 1000 and needs interim_results=true")
    return Asked(interim=interim, endpointing=endpointing, utterance_end=utterance_end or None)


def _flag(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false").lower()
    if value not in ("true", "false"):
        raise BadQuery(f"{name} is true or false, not {value!r}")
    return value == "true"


def _whole(query: Mapping[str, str], name: str, default: int, allowed: range) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) not in allowed:
        raise BadQuery(f"{name} is from {allowed.start} to {allowed.stop - 1}, not {text!r}")
    return int(text)
