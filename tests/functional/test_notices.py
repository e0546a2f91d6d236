"""Notices go to a real HTTP server: once, signed, again where that can help, and never at the daemon's expense."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
import time

import pytest

from functional.daemon import Daemon
from functional.receiver import Receiver
from mindbot_supervisor.observability import notifications, webhook
from mindbot_supervisor.observability.notifications import Notices

SECRET = "the-secret-of-the-webhook"
AGENT_ERROR = '{"event": "agent.error", "level": "error", "kind": "llm", "reason": "APIStatusError: 500", "room": "r"}'


@pytest.fixture
def receiver():
    with Receiver() as server:
        yield server


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
async def notices(receiver):
    """Notices of "worker.killing", to the receiver."""
    log: list[tuple[str, str, dict]] = []
    made = Notices(lambda *record: log.append(record), lambda text: text.replace("s3cret", "***"), Clock())
    made.log = log
    made.follow(receiver.url, SECRET, ["worker.killing"])
    yield made
    await made.close()


async def posted(receiver, count):
    return await asyncio.to_thread(receiver.wait, lambda posts: len(posts) >= count and posts)


async def test_a_notice_is_signed_and_says_when_it_was_sent(receiver, notices):
    notices.offer("error", "worker.killing", {"worker": "0.1", "reason": "hung", "detail": "with s3cret"})
    (post,) = await posted(receiver, 1)
    told = post.json
    assert (told["event"], told["level"], told["worker"], told["reason"]) == ("worker.killing", "error", "0.1", "hung")
    assert told["detail"] == "with ***" and told["count"] == 1
    assert told["text"].endswith("worker.killing worker 0.1: with ***")
    digest = hmac.new(SECRET.encode(), post.body, hashlib.sha256).hexdigest()
    assert post.headers["X-Mindbot-Signature"] == f"sha256={digest}"
    assert post.headers["X-Mindbot-Timestamp"] == str(told["sent"])
    assert abs(told["sent"] - time.time()) < 60


async def test_what_nobody_asked_for_is_not_sent(receiver, notices):
    notices.offer("info", "worker.ready", {"worker": "0.1"})
    notices.offer("error", "worker.killing", {"worker": "0.1"})
    posts = await posted(receiver, 1)
    assert [post.json["event"] for post in posts] == ["worker.killing"]


async def test_the_same_again_is_one_more_notice_with_the_count(receiver, notices):
    for _ in range(5):
        notices.offer("error", "worker.killing", {"worker": "0.1", "reason": "hung"})
    notices.offer("error", "worker.killing", {"worker": "1.1", "reason": "hung"})
    posts = await posted(receiver, 2)
    assert [post.json["worker"] for post in posts] == ["0.1", "1.1"]
    notices._clock.now += notifications.SAME + 1
    notices._news.set()
    posts = await posted(receiver, 3)
    assert (posts[2].json["worker"], posts[2].json["count"]) == ("0.1", 4)


async def test_it_is_tried_again_and_a_pause_that_is_asked_for_is_kept(receiver, notices, monkeypatch):
    monkeypatch.setattr(webhook, "PAUSE", 0.01)
    receiver.answers = [(500, {}), (429, {"Retry-After": "2"})]
    notices.offer("error", "worker.killing", {"worker": "0.1"})
    first, second, third = await posted(receiver, 3)
    assert first.json["id"] == second.json["id"] == third.json["id"]
    assert third.at - second.at >= 1.9
    assert notices.log == []


async def test_a_refusal_is_final_and_logged_without_the_url(receiver, notices):
    receiver.answers = [(404, {})]
    notices.offer("error", "worker.killing", {"worker": "0.1"})
    notices.offer("error", "worker.killing", {"worker": "1.1"})
    posts = await posted(receiver, 2)
    assert [post.json["worker"] for post in posts] == ["0.1", "1.1"]
    ((level, event, fields),) = notices.log
    assert (level, event, fields["notice"]) == ("warning", "notice.failed", "worker.killing")
    assert fields["detail"] == "127.0.0.1 answered 404"


async def test_a_redirect_does_not_carry_the_notice_elsewhere(receiver, notices):
    receiver.answers = [(307, {"Location": receiver.url + "/elsewhere"})]
    notices.offer("error", "worker.killing", {"worker": "0.1"})
    await posted(receiver, 1)
    await notices.close()
    assert len(receiver.posts) == 1 and notices.log[0][2]["detail"] == "127.0.0.1 answered 307"


async def test_a_receiver_that_is_not_there_costs_a_bounded_queue_and_no_time(monkeypatch):
    monkeypatch.setattr(webhook, "PAUSE", 0.01)
    with socket.socket() as listener:  # accepts nothing, and so answers nothing
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        log: list = []
        notices = Notices(lambda *record: log.append(record), str)
        notices.follow(f"http://127.0.0.1:{listener.getsockname()[1]}/", "", ["call.lost"])
        await asyncio.sleep(0)
        for n in range(notifications.WAITING_MAX * 2):
            notices.offer("error", "call.lost", {"room": str(n), "reason": str(n)})
        assert len(notices._waiting) == notifications.WAITING_MAX
        began = time.monotonic()
        await notices.close()
        assert time.monotonic() - began < notifications.CLOSE_WAIT + 5


def test_the_daemon_posts_its_own_events_and_its_agents_errors_and_keeps_the_secret(tmp_path, receiver):
    (tmp_path / "agent.sh").write_text(
        f"echo '{AGENT_ERROR}'\necho '{AGENT_ERROR}'\n"
        'echo \'{"event": "slot.parked", "level": "error"}\'\n'
        'echo "secret: ${MINDBOT_WEBHOOK_SECRET:-none}"\nexec sleep 600\n'
    )
    environ = {
        "MINDBOT_NOTIFY__WEBHOOK_URL": receiver.url,
        "MINDBOT_WEBHOOK_SECRET": SECRET,
        "MINDBOT_LOG__LEVEL": "error",
    }
    with Daemon(tmp_path, "--workers", "1", "--command", f"sh {tmp_path}/agent.sh", environ=environ) as daemon:
        receiver.wait(lambda _: receiver.of("supervisor.started") and receiver.of("agent.error"))
        assert daemon.terminate() == 0
    assert [post.json["count"] for post in receiver.of("agent.error")] == [1, 1]
    (first, _) = receiver.of("agent.error")
    assert (first.json["kind"], first.json["room"], first.json["worker"]) == ("llm", "r", "0.1")
    assert receiver.of("supervisor.stopped"), "the last one is sent as well"
    assert not receiver.of("slot.parked"), "a worker cannot speak for the daemon"
    for post in receiver.posts:
        digest = hmac.new(SECRET.encode(), post.body, hashlib.sha256).hexdigest()
        assert post.headers["X-Mindbot-Signature"] == f"sha256={digest}"
        assert SECRET.encode() not in post.body


def test_a_worker_never_sees_the_secret_and_the_log_never_the_url(tmp_path, receiver):
    (tmp_path / "agent.sh").write_text('echo "secret: ${MINDBOT_WEBHOOK_SECRET:-none}"\nexec sleep 600\n')
    environ = {"MINDBOT_NOTIFY__WEBHOOK_URL": receiver.url, "MINDBOT_WEBHOOK_SECRET": SECRET}
    with Daemon(tmp_path, "--workers", "1", "--command", f"sh {tmp_path}/agent.sh", environ=environ) as daemon:
        daemon.wait("worker.output", text="secret: none")
        assert daemon.terminate() == 0
    assert "with-a-token" not in daemon.tail(10_000) + daemon.errors
