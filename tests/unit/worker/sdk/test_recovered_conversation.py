"""What an agent learns of the call that it continues, and what is kept of it meanwhile."""

import types

import pytest
from livekit.agents.llm import ChatContext, FunctionCall, FunctionCallOutput

import mindbot_worker
from mindbot_config.settings import Settings
from mindbot_worker.jobs import call_journal
from mindbot_worker.mindbot.call import greet, is_unanswered
from mindbot_worker.protocol import heartbeat
from mindbot_worker.sdk import recovered_conversation

ROOM = "r1"
FIRST = heartbeat.journal_name(ROOM, "AJ_1")


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    monkeypatch.setenv(heartbeat.RUNTIME_DIR, str(tmp_path))
    return tmp_path


def context(job="AJ_1", **attributes):
    room = types.SimpleNamespace(name=ROOM)
    found = types.SimpleNamespace(id=job, room=room, attributes=attributes)
    return types.SimpleNamespace(job=found, is_fake_job=lambda: False)


def continuing(monkeypatch, name=FIRST, job="AJ_2"):
    successor = context(job, **{heartbeat.RECOVERS: "AJ_1", heartbeat.JOURNAL: name})
    monkeypatch.setattr(recovered_conversation, "get_job_context", lambda: successor)
    return successor


def history(*said: tuple[str, str]) -> ChatContext:
    found = ChatContext.empty()
    found.add_message(role="system", content="be kind")
    for role, text in said:
        found.add_message(role=role, content=text)
    return found


def texts(found: ChatContext) -> list[str]:
    return [item.text_content for item in found.items]


def keep(found: ChatContext, job="AJ_1", **attributes) -> None:
    call_journal.begin(context(job, **attributes))
    call_journal.write_history(types.SimpleNamespace(history=found), job)


def test_a_new_call_has_no_history(monkeypatch):
    monkeypatch.setattr(recovered_conversation, "get_job_context", context)
    assert mindbot_worker.recovered_conversation() is None


def test_what_was_said_comes_back_without_the_instructions(monkeypatch):
    keep(history(("assistant", "Hello"), ("user", "Hi")))
    continuing(monkeypatch)
    assert texts(recovered_conversation.recovered_conversation()) == ["Hello", "Hi"]


def test_tools_that_were_used_come_back(monkeypatch):
    found = history(("user", "What time is it?"))
    found.insert(FunctionCall(call_id="c1", name="clock", arguments="{}"))
    found.insert(FunctionCallOutput(call_id="c1", name="clock", output="noon", is_error=False))
    keep(found)
    continuing(monkeypatch)
    assert [item.type for item in recovered_conversation.recovered_conversation().items] == [
        "message",
        "function_call",
        "function_call_output",
    ]


def test_each_item_is_kept_once_and_by_the_second_agent_too(monkeypatch):
    found = history(("user", "one"))
    keep(found)
    call_journal.write_history(types.SimpleNamespace(history=found), "AJ_1")
    second = continuing(monkeypatch)
    restored = recovered_conversation.recovered_conversation()
    restored.add_message(role="user", content="two")
    keep(restored, "AJ_2", **second.job.attributes)
    assert texts(recovered_conversation.recovered_conversation()) == ["one", "two"]


def test_nothing_is_left_when_the_call_has_ended(runtime):
    keep(history(("user", "one")))
    call_journal.end("AJ_1")
    call_journal.end("AJ_1")
    assert list((runtime / heartbeat.JOURNALS).iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\n", b'{"v":1,"room":"r1"}\n{"type":"message","role":"nobody"}\n', b'{"v":1,"room":"r1"}\n{"x":1}\n'],
)
def test_a_bad_journal_is_ignored_with_one_line_and_no_word_of_it(monkeypatch, runtime, caplog, content):
    continuing(monkeypatch)
    folder = runtime / heartbeat.JOURNALS
    folder.mkdir()
    (folder / FIRST).write_bytes(content)
    assert recovered_conversation.recovered_conversation().items == []
    (record,) = caplog.records
    assert record.event == "journal.ignored"
    assert "nobody" not in record.getMessage() + record.reason


def test_a_name_that_leads_elsewhere_is_not_followed(monkeypatch, runtime):
    (runtime / "secret").write_text('{"v":1,"room":"r1"}\n')
    successor = continuing(monkeypatch, name="../secret")
    assert call_journal.path_of(successor).parent == runtime / heartbeat.JOURNALS
    assert recovered_conversation.recovered_conversation().items == []


def test_a_full_disk_ends_the_keeping_and_not_the_call(runtime, caplog):
    keep(history(("user", "one")))

    def full(_):
        raise OSError(28, "No space left on device")

    call_journal._writers["AJ_1"]._journal.add = full
    for text in ("two", "three"):
        call_journal.write_history(types.SimpleNamespace(history=history(("user", text))), "AJ_1")
    assert [record.event for record in caplog.records] == ["call.unkept"]
    call_journal.end("AJ_1")


class Session:
    def __init__(self):
        self.did = []

    def say(self, text, **_):
        self.did.append(text)

    def generate_reply(self):
        self.did.append("<answer>")


@pytest.mark.parametrize(
    ("before", "did"),
    [
        pytest.param(None, ["greeting"], id="a new call"),
        pytest.param([], ["sentence"], id="nothing is known of it"),
        pytest.param([("user", "a"), ("assistant", "b")], ["sentence"], id="the agent had answered"),
        pytest.param([("assistant", "b"), ("user", "a")], ["sentence", "<answer>"], id="the caller waits"),
    ],
)
def test_a_call_begins_or_goes_on_with_the_right_words(before, did):
    settings = Settings(voice={"greeting": "greeting"}, recovery={"sentence": "sentence"})
    session = Session()
    greet(session, settings, None if before is None else history(*before))
    assert session.did == did


def test_instructions_alone_wait_for_no_answer():
    assert not is_unanswered(history())
