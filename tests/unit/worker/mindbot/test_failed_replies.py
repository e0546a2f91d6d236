"""When the caller is asked again, and when the call ends, with as much of a session as that takes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace as Some
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIStatusError
from livekit.agents.llm import LLM, LLMError
from livekit.agents.stt import STTError
from livekit.agents.tts import TTSError

from mindbot_config.sections.voice import Voice
from mindbot_worker.mindbot import failed_replies
from mindbot_worker.mindbot.failed_replies import FailedReplies

VOICE = Voice(excuse="Pardon?", failed_replies=3)
OF = {"llm": LLMError, "tts": TTSError, "stt": STTError}


class Mind(LLM[Any]):
    def chat(self, **_: Any) -> Any:
        raise NotImplementedError


class Session(rtc.EventEmitter[str]):
    excuses: FailedReplies

    def __init__(self) -> None:
        super().__init__()
        self.llm = Mind()
        self.llm.on("error", lambda error: self.emit("error", Some(error=error)))
        self.said: list[str] = []
        self.user_state = "listening"

    def say(self, text: str, *, add_to_chat_ctx: bool) -> None:
        assert not add_to_chat_ctx
        self.said.append(text)

    # -- what happens in it

    def error(self, kind: str, *, status: int = 500, recoverable: bool = False) -> None:
        cause = APIStatusError("no", status_code=status)
        self.emit("error", Some(error=OF[kind](timestamp=0.0, label="", error=cause, recoverable=recoverable)))

    def reply(self, *errors: str, items: int = 1, source: str = "generate_reply", **how: Any) -> None:
        speech = Some(**{"scheduled": True, "interrupted": False, "chat_items": ["said"] * items, **how})
        speech.add_done_callback = lambda done: setattr(speech, "done", done)
        self.emit("speech_created", Some(speech_handle=speech, source=source))
        for kind in errors:
            self.error(kind)
        speech.done(speech)

    def caller(self, transcript: str = "", *, pauses: bool = True) -> None:
        """Says something, of which this was understood."""
        for state in ("speaking", "listening")[: 1 + pauses]:
            self.user_state = state
            self.emit("user_state_changed", Some(new_state=state))
            if transcript and state == "speaking":
                self.emit("user_input_transcribed", Some(transcript=transcript))


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    errors: list[Any] = []
    monkeypatch.setattr(failed_replies, "start_failing", lambda _, error, *rest: errors.append(error))
    monkeypatch.setattr(failed_replies, "_VOICE_RETRY_AFTER", 0.0)
    return errors


@pytest.fixture
def session(ended: list[Any]) -> Session:
    made = Session()
    made.excuses = FailedReplies(Some(job=Some(id="AJ_1")), made, VOICE)  # type: ignore[arg-type]
    return made


def test_a_failed_reply_is_excused_and_the_third_in_a_row_ends_the_call(session: Session, ended: list[Any]) -> None:
    for _ in range(2):
        session.reply("llm", items=0)
    assert session.said == ["Pardon?"] * 2 and not ended
    session.reply("llm", items=0)
    assert session.said == ["Pardon?"] * 2 and [error.type for error in ended] == ["llm_error"]


def test_a_reply_that_was_heard_begins_the_count_anew_and_an_excuse_does_not(
    session: Session, ended: list[Any]
) -> None:
    for _ in range(5):
        session.reply("llm", items=0)
        session.reply(source="say")
        session.reply("llm", items=1)
        session.reply()
    assert not ended and len(session.said) == 10


def test_what_was_prepared_and_not_used_or_cut_off_by_the_caller_is_no_failed_reply(session: Session) -> None:
    session.reply("llm", items=0, scheduled=False)
    session.reply("llm", items=0, interrupted=True)
    session.error("llm", recoverable=True)
    assert not session.said


def test_an_empty_answer_is_an_error_of_the_model(session: Session) -> None:
    errors: list[LLMError] = []
    session.llm.on("error", errors.append)
    session.reply(items=0)
    assert session.said == ["Pardon?"]
    assert [(str(each.error), each.recoverable) for each in errors] == [("the answer was empty", False)]
    session.reply("llm", items=0)
    session.reply(items=0, source="tool_response")
    assert len(errors) == 1


def test_deaf_ears_are_excused_only_to_a_caller_who_said_something(session: Session, ended: list[Any]) -> None:
    session.error("stt")
    session.caller("Hello")
    session.error("stt")
    assert not session.said
    session.caller()
    session.error("stt")
    session.error("stt")
    assert session.said == ["Pardon?"], "once for what was said"
    session.caller()
    session.error("stt", status=401)
    assert session.said == ["Pardon?"] and not ended, "LiveKit ends such a session itself, at once"


def test_who_speaks_is_asked_again_at_the_next_pause_unless_understood_by_then(session: Session) -> None:
    session.caller(pauses=False)
    session.excuses.say()
    assert not session.said
    session.caller()
    assert session.said == ["Pardon?"]
    session.caller(pauses=False)
    session.excuses.say()
    session.caller("Hello")
    session.caller("Hello")
    assert session.said == ["Pardon?"]


def test_nothing_is_said_once_the_call_is_being_ended(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed_replies, "is_failing", lambda _: True)
    session.excuses.say()
    assert not session.said


def test_a_voice_that_is_long_in_failing_has_no_third_trial(
    session: Session, ended: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_replies, "_MUTE_MAX", -1.0)
    session.reply("llm", items=0)
    assert not ended, "a caller can be asked again as long as there is a voice"
    session.reply("tts", items=0, source="say")
    assert [error.type for error in ended] == ["tts_error"]


async def test_a_voice_that_failed_rests_before_it_is_tried_again(session: Session) -> None:
    session.reply("tts", items=0)
    assert not session.said
    await asyncio.sleep(0.01)
    assert session.said == ["Pardon?"]
