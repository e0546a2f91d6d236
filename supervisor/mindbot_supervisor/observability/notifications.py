"""Notices to people: takes what happens from the log, and has what is wanted posted to a webhook."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mindbot_supervisor.core import log_events
from mindbot_supervisor.observability.logging.repeat_filter import Repeats
from mindbot_supervisor.observability.webhook import TIMEOUT, NotDelivered, Webhook

if TYPE_CHECKING:
    import aiohttp

SAME = 60.0
"""Seconds within which the same event of the same worker for the same reason is one notice (and one with the count)."""
WAITING_MAX = 256
"""Notices that wait for a slow receiver; further ones are dropped, and how many is logged."""
CLOSE_WAIT = 3.0
"""Seconds that the last notices may take at the daemon's end."""
TEXT_MAX = 2000
_SAME_IN = ("worker", "slot", "kind", "reason", "detail")
_TOLD = ("detail", "reason", "kind")
_KEPT_BACK = frozenset({"traceback", "logger"})


Fields = Mapping[str, object]
Note = Callable[[str, str, Fields], None]
"""Takes level, event and fields of a log record."""


class Notices:
    """`offer` never blocks and never fails; one task posts, one notice after the other. Methods belong to the loop."""

    def __init__(self, note: Note, mask: Callable[[str], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._note, self._mask, self._clock = note, mask, clock
        self._webhook: Webhook | None = None
        self._wanted: Collection[str] = ()
        self._repeats = Repeats(SAME)
        self._waiting: deque[Fields] = deque()
        self._dropped = 0
        self._news = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self.keep_up: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]] = lambda work: work()
        """Runs the task that posts, and runs it again if it fails."""

    def follow(self, url: str, secret: str, wanted: Collection[str]) -> None:
        """Send these events there from now on; nothing with an empty `url`."""
        self._webhook, self._wanted = Webhook(url, secret) if url else None, frozenset(wanted)
        if self._webhook is not None and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._post())

    def offer(self, level: str, event: str, fields: Fields) -> None:
        """Something happened."""
        if self._webhook is None or event not in self._wanted:
            return
        notice = self._notice(level, event, fields)
        if self._repeats.is_new(_key(event, fields), notice, self._clock()):
            self._put(notice)
        self._news.set()

    async def close(self) -> None:
        """Send what waits, for CLOSE_WAIT seconds at most."""
        if self._task is None:
            return
        for last, again in self._repeats.rest():
            self._put(_counted(last, again))
        self._closing = True
        self._news.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._task, CLOSE_WAIT)

    def _notice(self, level: str, event: str, fields: Fields) -> Fields:
        masked = {key: self._plain(value) for key, value in fields.items() if key not in _KEPT_BACK}
        return {
            **masked,
            "id": uuid.uuid4().hex,
            "event": event,
            "level": level,
            "host": platform.node(),
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "text": _text(event, masked),
            "count": 1,
        }

    def _plain(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, list | tuple):
            return [self._plain(each) for each in value]
        return self._mask(str(value))[:TEXT_MAX]

    def _put(self, notice: Fields) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._dropped += 1
        else:
            self._waiting.append(notice)

    async def _post(self) -> None:
        await self.keep_up(self._send_all)

    async def _send_all(self) -> None:
        import aiohttp  # where notices are wanted: it takes long to load

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT), trust_env=False) as session:
            while True:
                for last, again in self._repeats.over(self._clock()):
                    self._put(_counted(last, again))
                while self._waiting:
                    await self._send(session, self._waiting.popleft())
                if self._closing:
                    return
                await self._sleep()

    async def _send(self, session: aiohttp.ClientSession, notice: Fields) -> None:
        if self._webhook is None:
            return
        try:
            await self._webhook.deliver(session, notice)
        except NotDelivered as exc:
            self._note("warning", log_events.NOTICE_FAILED, {"notice": notice["event"], "detail": str(exc)})
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._note(
                "warning", log_events.NOTICE_DROPPED, {"notices": dropped, "detail": "the webhook is too slow for them"}
            )

    async def _sleep(self) -> None:
        """Until there is something to send."""
        at = self._repeats.wake_at()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), None if at is None else max(at - self._clock(), 0.01))
        self._news.clear()


def _key(event: str, fields: Fields) -> Hashable:
    return event, *(str(fields.get(name)) for name in _SAME_IN)


def _counted(notice: Fields, again: int) -> Fields:
    """The last one of those that were not sent, standing for all of them."""
    return {**notice, "count": again, "text": f"{notice['text']} ({again} more within {SAME:g} s)"}


def _text(event: str, fields: Fields) -> str:
    """One line for people: chat services show this field and no other."""
    who = f" worker {fields['worker']}" if fields.get("worker") else ""
    where = f" room {fields['room']}" if fields.get("room") else ""
    why = next((str(fields[name]) for name in _TOLD if fields.get(name)), "")
    return f"mindbot-supervisor on {platform.node()}: {event}{who}{where}" + (f": {why}" if why else "")
