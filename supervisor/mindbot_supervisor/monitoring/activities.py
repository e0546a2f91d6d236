"""Watches what the daemon does all the time: failures are told, and retried after a back-off; nothing ends unseen.

An activity is a thread that goes round and round (`Rounds`, or `run_thread` for one that waits by itself), a task
(`run_task`), something that a timer calls (`attempt`), or something that looks after itself and is only asked how it is
(`Activities.watch`). What fails is in the log and in the status; where it is essential, /readyz says so too, and
systemd's watchdog is no longer fed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindbot_supervisor.core import log_events

RETRY_FIRST, RETRY_MAX = 0.5, 10.0
"""Seconds until an activity that failed is tried again; doubled each time."""
FRAMES = 5
GRACE = 3.0
"""Seconds for which something essential may fail before the daemon no longer says that it is well."""
HEALED_AFTER = 3
"""So many rounds in a row without a failure, and the next one begins with the short wait again."""

Note = Callable[..., None]
"""Takes event, level and fields; called in the loop's thread."""
Ask = Callable[[], str | None]
"""What is wrong, in one line, or None."""


@dataclass(frozen=True, slots=True)
class Health:
    """An activity that does not do its work now."""

    name: str
    error: str
    seconds: float
    """For so long."""
    retry_in: float | None = None
    essential: bool = False
    """Without it the daemon cannot be trusted to look after its workers."""

    def fields(self) -> dict[str, Any]:
        retry = round(self.retry_in, 1) if self.retry_in is not None else None
        return {"name": self.name, "error": self.error, "for": round(self.seconds, 1), "retry_in": retry}

    def __str__(self) -> str:
        return f"{self.name} fails since {self.seconds:.0f} s: {self.error}"


@dataclass(slots=True)
class Activity:
    """One activity and its health. Any thread may report how a round went."""

    name: str
    tell: Callable[[str, str, dict[str, Any]], None]
    essential: bool = False
    silent_after: float | None = None
    """Seconds without a round after which it counts as failing, though it has said nothing."""
    clock: Callable[[], float] = time.monotonic
    retry_at: float = 0.0
    _failures: int = 0
    _healthy_rounds: int = 0
    _error: str = ""
    _since: float = 0.0
    _round_at: float | None = None

    def began(self) -> None:
        """Note that the activity runs from now on."""
        self._round_at = self.clock()

    def worked(self) -> None:
        """Note that a round succeeded."""
        now = self._round_at = self.clock()
        self._healthy_rounds += 1
        if self._healthy_rounds >= HEALED_AFTER:
            self._failures = 0
        if self._error:
            self._error = ""
            fields = {"name": self.name, "after": round(now - self._since, 1)}
            self.tell(log_events.ACTIVITY_RECOVERED, "info", fields)

    def failed(self, error: BaseException | str, *, quietly: bool = False) -> float:
        """Note that a round failed, and tell it unless `quietly`; the seconds until the next try."""
        now = self.clock()
        what = error if isinstance(error, str) else describe(error)
        known = self._error == what and now < self.retry_at
        if not self._error:
            self._since = now
        self._error, self._healthy_rounds = what, 0
        if known:
            return self.retry_at - now
        wait = min(RETRY_FIRST * 2.0**self._failures, RETRY_MAX)
        self._failures, self.retry_at = min(self._failures + 1, 30), now + wait
        fields: dict[str, Any] = {"name": self.name, "error": what, "retry_in": round(wait, 1)}
        if isinstance(error, BaseException) and not isinstance(error, OSError):
            fields["where"] = where(error)
        if not quietly:
            self.tell(log_events.ACTIVITY_FAILED, "error", fields)
        return wait

    def attempt(self, work: Callable[[], object], *, pause: bool = True) -> None:
        """Do `work` now, in this thread; with `pause` not during the back-off after a failure. Raises nothing."""
        if pause and self.clock() < self.retry_at:
            return
        try:
            work()
        except Exception as exc:
            self.failed(exc)
        else:
            self.worked()

    def run_thread(self, rounds: Callable[[], None], stop: threading.Event) -> None:
        """The body of a thread: run `rounds` until it is stopped; begin it again if it raises."""
        self.began()
        while not stop.is_set():
            try:
                rounds()
                return
            except BaseException as exc:
                wait = self.failed(exc)
            stop.wait(wait)

    async def run_task(self, work: Callable[[], Awaitable[None]]) -> None:
        """The body of a task: run `work` until it returns; begin it again if it raises."""
        while True:
            try:
                return await work()
            except Exception as exc:
                wait = self.failed(exc)
            await asyncio.sleep(wait)

    def health(self) -> Health | None:
        """What is wrong with the activity; None while it does its work."""
        now = self.clock()
        if self._error:
            return Health(self.name, self._error, now - self._since, max(self.retry_at - now, 0.0), self.essential)
        silent = now - self._round_at if self._round_at is not None else 0.0
        if self.silent_after is not None and silent > self.silent_after:
            return Health(self.name, f"nothing was heard of it for {silent:.0f} s", silent, None, self.essential)
        return None


@dataclass(slots=True)
class Rounds:
    """Does `work` in a thread of its own, every `interval` seconds; what it takes counts, but half of it is a rest."""

    activity: Activity
    work: Callable[[float], None]
    """Takes the time on the monotonic clock."""
    interval: float
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. Raises RuntimeError where none can be started."""
        self._thread = threading.Thread(target=self._run, name=self.activity.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        self.activity.run_thread(self._go_round, self._stop)

    def _go_round(self) -> None:
        pause = self.interval
        while not self._stop.wait(pause):
            began = time.monotonic()
            self.work(began)
            self.activity.worked()
            pause = max(self.interval - (time.monotonic() - began), self.interval / 2)


@dataclass(slots=True)
class Activities:
    """All activities of one daemon. Made in the loop's thread."""

    note: Note
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _all: list[Activity] = field(default_factory=list)
    _asked: dict[str, tuple[Ask, bool]] = field(default_factory=dict)
    _asked_since: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, *, essential: bool = False, silent_after: float | None = None) -> Activity:
        made = Activity(name, self._tell, essential, silent_after)
        self._all.append(made)
        return made

    def watch(self, name: str, ask: Ask, *, essential: bool = False) -> None:
        """Ask this function, whenever the health is wanted, what is wrong with something that retries by itself."""
        self._asked[name] = (ask, essential)

    def unhealthy(self) -> list[Health]:
        """The activities that do not do their work now."""
        found = [health for each in self._all if (health := each.health()) is not None]
        now = time.monotonic()
        for name, (ask, essential) in self._asked.items():
            error = ask()
            if error is None:
                self._asked_since.pop(name, None)
            else:
                since = self._asked_since.setdefault(name, now)
                found.append(Health(name, error, now - since, None, essential))
        return found

    def not_watching(self) -> str | None:
        """Why this daemon must not claim to be well: something essential fails. None while all of that works."""
        return next((str(each) for each in self.unhealthy() if each.essential and each.seconds >= GRACE), None)

    def _tell(self, event: str, level: str, fields: dict[str, Any]) -> None:
        """Tell an event of an activity, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the daemon is ending
            self._loop.call_soon_threadsafe(lambda: self.note(event, level, **fields))


def describe(error: BaseException) -> str:
    """An exception in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def where(error: BaseException) -> list[str]:
    """The last places in the program through which an exception went."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
