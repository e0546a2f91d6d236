"""What a notice carries, and by which way it goes: nothing of ~/.netrc, and only JSON that every receiver reads."""

from __future__ import annotations

import asyncio
import json

import pytest

from functional.receiver import Receiver
from mindbot_supervisor.observability.notifications import Notices

LOGIN = "machine {host} login somebody password of-another-service\n"


@pytest.fixture
def receiver():
    with Receiver() as server:
        yield server


@pytest.fixture
async def notices():
    """Notices of "call.lost"; what went wrong with them is in `log`."""
    log: list[tuple] = []
    made = Notices(lambda *record: log.append(record), str)
    made.log = log
    yield made
    await made.close()


async def posted(receiver, count):
    return await asyncio.to_thread(receiver.wait, lambda posts: len(posts) >= count and posts)


def lower(post):
    return {name.lower(): value for name, value in post.headers.items()}


async def test_no_login_of_netrc_goes_with_a_notice(receiver, notices, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text(LOGIN.format(host="127.0.0.1") + "default login any password thing\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    notices.follow(receiver.url, "", ["call.lost"])
    notices.offer("error", "call.lost", {"room": "r"})
    (post,) = await posted(receiver, 1)
    assert "authorization" not in lower(post)


async def test_a_proxy_that_the_environment_names_is_used_without_logins_of_netrc(
    receiver, notices, tmp_path, monkeypatch
):
    (tmp_path / ".netrc").write_text(LOGIN.format(host="hook.invalid"))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", receiver.url.rpartition("/hook")[0])
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    notices.follow("http://hook.invalid/x", "", ["call.lost"])
    notices.offer("error", "call.lost", {"room": "r"})
    (post,) = await posted(receiver, 1)
    assert lower(post)["host"] == "hook.invalid"
    assert not {"authorization", "proxy-authorization"} & lower(post).keys()


async def test_a_number_that_is_none_is_null_in_a_notice(receiver, notices):
    notices.follow(receiver.url, "", ["call.lost"])
    notices.offer("error", "call.lost", {"room": "r", "seconds": float("inf")})
    (post,) = await posted(receiver, 1)
    assert json.loads(post.body, parse_constant=pytest.fail)["seconds"] is None


async def test_retries_say_nothing_past_our_own_log(receiver, notices, capfd, monkeypatch):
    monkeypatch.setattr("mindbot_supervisor.observability.webhook.PAUSE", 0.01)
    receiver.answers = [(503, {}), (503, {})]
    notices.follow(receiver.url, "", ["call.lost"])
    notices.offer("error", "call.lost", {"room": "r"})
    await posted(receiver, 3)
    await notices.close()
    assert notices.log == [] and capfd.readouterr() == ("", "")


async def test_a_receiver_that_never_takes_it_is_given_up_with_its_last_reason(receiver, notices, monkeypatch):
    monkeypatch.setattr("mindbot_supervisor.observability.webhook.PAUSE", 0.01)
    receiver.answers = [(503, {})] * 4
    notices.follow(receiver.url, "", ["call.lost"])
    notices.offer("error", "call.lost", {"room": "r"})
    await posted(receiver, 4)
    await notices.close()
    ((level, event, fields),) = notices.log
    assert (level, event, fields["detail"]) == ("warning", "notice.failed", "127.0.0.1 answered 503, 4 times")
