"""One attempt to bring a new agent into a room: the recipe, and what was seen on the way.

For a call whose agent is dead: dispatch the new one, take the dead one out of the room, wait until the new one is
there; livekit-server takes 0.2 s to choose a worker, so that what the dispatch does not need can come after it.
For a call that is moved the old agent goes on answering until a worker has the new one ready, which waits outside of
the room.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, field, replace

from mindbot_supervisor.core.actions import Recover
from mindbot_supervisor.core.calls.evidence import ListedJob
from mindbot_supervisor.core.calls.recovery_state import Alone, Answer, Contested, Failed, Recovered
from mindbot_supervisor.recovery.call_journals import Journals
from mindbot_supervisor.recovery.livekit import ApiError, LiveKitApi, NotFound
from mindbot_supervisor.recovery.livekit_records import AGENT, WHOLE_ROOM, Dispatch, Participant
from mindbot_worker.protocol import heartbeat

POLL, POLL_EARLY = 0.04, 0.15
"""Seconds between two looks at who is in the room: the server itself is asked, as it tells clients up to 3 s late. The
second is for as long as no worker of ours has taken the job, when only one of another host could send the agent."""
NOTICE = 0.02
"""Seconds in which we notice that a worker of ours has."""
OFTEN = 2
"""So many attempts at once may look as often as POLL says. More of them take turns, for the sake of the agents that
they wait for: one look takes 2 ms of CPU, half of it livekit-server's."""
OFFER = 2.0
"""Seconds after which a dispatch that no worker took is made anew: the server offers it once and then never again.
What became of it is listed up to 5 s late (CheckEnabledTimeout in pkg/agent/client.go), so our own workers are asked as
well; an agent that another host sends later than this is called back by the server, as its dispatch is deleted."""
JOURNAL_RELEASED = 1.0
"""Seconds in which a job process that was killed lets go of its journal: usually it has when its end is known."""
SWAP_UNTIL = 0.6
"""Share of an attempt's time after which no old agent is taken out any more: the new one needs the rest to come in."""
NOT_ROOM = "only the agent of a whole room can be replaced, and this one serves a single participant"


def between_looks(under_way: int) -> float:
    """Seconds from one look to the next, while so many attempts are under way."""
    return POLL * max(under_way / OFTEN, 1.0)


class Finished(Exception):
    """The attempt is over, with this answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known here, and who wants to know: `started_here`, whether one of our own workers has started the new
    job; `speaks_against` why its agent must be left alone, by what LiveKit lists for the room; `left_alone` is told
    when the old agent of a moved call was taken out of the room (monotonic time).
    """

    started_here: Callable[[], bool] = lambda: False
    left_alone: Callable[[float], None] = lambda _: None
    speaks_against: Callable[[Sequence[ListedJob]], str] = lambda _: ""


@dataclass(slots=True)
class Attempt:
    """`run` may be called again after an ApiError: what was done is not done twice."""

    api: LiveKitApi
    action: Recover
    model: Dispatch
    """What to dispatch: what was dispatched for the old agent, as soon as that is known."""
    taken: dict[str, None]
    """Agents that answer for a call already, the latest last."""
    journals: Journals
    until: float
    watch: Watch
    under_way: Sized
    """All attempts of the pool at this time."""
    problem: str = ""
    """Why LiveKit could not be asked, last time it could not."""
    heard: bool = False
    """LiveKit has answered."""
    taken_up: bool = False
    """A worker has accepted the new job."""
    _strangers: set[str] | None = None
    _removed: bool = False
    _own: str = ""
    _perhaps: bool = False
    """A dispatch was asked for and the answer did not come."""
    _offered: float = 0.0
    _journal: str = ""
    """What the old agent's is called."""
    _stale: list[str] = field(default_factory=list)
    """Dispatches that the new one replaces: those of earlier attempts, and a dead agent's own."""
    _theirs: list[str] = field(default_factory=list)
    """Those of the old agent."""

    async def run(self) -> None:
        """Ends by raising Finished, or an ApiError; it returns only at its deadline."""
        if not self._own:
            await self._begin()
            await self._pause()  # it has just looked
        while time.monotonic() < self.until:
            people = await self.api.participants(self._room)
            await self._clear(people)
            await self._look(people)
            self.problem = ""
            self.taken_up = self.taken_up or self.watch.started_here()
            if self.taken_up and self.untouched and self._has_time:
                await self._swap()
            if not self.taken_up and time.monotonic() - self._offered > OFFER:
                await self._offer_again()
            await self._pause()

    async def call_off(self) -> None:
        """The new agent, should it be on its way, is not wanted any more."""
        if self._own:
            await self._delete(self._own)

    @property
    def untouched(self) -> bool:
        """The old agent lives and is in the room as before."""
        return self.action.moved and not self._removed

    @property
    def _has_time(self) -> bool:
        return self.until - time.monotonic() > (1 - SWAP_UNTIL) * self.action.seconds

    @property
    def _room(self) -> str:
        return self.action.call.room

    @property
    def _job(self) -> str:
        return self.action.call.job

    async def _begin(self) -> None:
        """See who is there and what was dispatched, dispatch the new agent, and only then take a dead one out."""
        listing = asyncio.ensure_future(self.api.dispatches(self._room))
        try:
            people = await self.api.participants(self._room)
            self.heard = True
            if self._strangers is None:
                self._strangers = {each.sid for each in people if each.kind == AGENT}
            if not people:  # LiveKit would take 3 s to say what was dispatched there
                raise Finished(Alone())
            dispatches = await listing
        finally:
            listing.cancel()
            await asyncio.gather(listing, return_exceptions=True)
        earlier = [each for each in dispatches if each.attributes.get(heartbeat.RECOVERS) == self._job]
        await self._agree(dispatches, earlier)
        if not any(each.is_caller for each in people):
            await self._clear(people)
            raise Finished(Alone())
        if earlier and self._perhaps:
            self._own, self._offered = earlier[-1].id, time.monotonic()
            return
        await self._adopt(people, earlier)
        if self.untouched and all(each.identity != self.action.call.identity for each in people):
            self._left(time.monotonic())
        self._learn(dispatches, earlier)
        await self._dispatch()
        await self._clear(people)

    async def _agree(self, dispatches: list[Dispatch], earlier: list[Dispatch]) -> None:
        """Before anything is done: LiveKit's list and the call's journal have to agree that its agent is dead."""
        listed = [
            ListedJob(job.id, job.identity, job.worker_id, each.id, job.is_running)
            for each in dispatches
            if each not in earlier
            for job in each.jobs
        ]
        if why := self.watch.speaks_against(listed):
            raise Finished(Contested(why))
        if self.action.moved or earlier or self.watch.started_here():
            return  # its agent lives, or another one that came since has the journal
        until = time.monotonic() + JOURNAL_RELEASED
        names = {heartbeat.journal_name(self._room, self._job), *self._journal_names(dispatches, earlier)}
        while any(self.journals.is_held(name) for name in names):
            if time.monotonic() > until:
                raise Finished(Contested("a living process still writes the journal of this call"))
            await asyncio.sleep(NOTICE)

    def _journal_names(self, dispatches: list[Dispatch], earlier: list[Dispatch]) -> set[str]:
        """What the journal of this call may be called."""
        models = [*earlier, *(each for each in dispatches if self._sent(each)), self.model]
        return {
            name for each in models if heartbeat.is_journal_name(name := each.attributes.get(heartbeat.JOURNAL, ""))
        }

    async def _clear(self, people: list[Participant]) -> None:
        """Take out of the room, and of LiveKit's list, what the new agent replaces. It is tried again at each look."""
        identity, known = self.action.call.identity, self._strangers or ()
        if not self.untouched and any(each.identity == identity and each.sid in known for each in people):
            with contextlib.suppress(ApiError):
                await self._remove()
        stale, self._stale = self._stale, []
        await self._delete(*stale)

    async def _remove(self) -> None:
        """Take the old agent out of the room: dead, it would stay listed for 20 s; alive, it would answer too."""
        if self._removed:
            return
        if self.action.call.identity:
            with contextlib.suppress(NotFound):
                await self.api.remove(self._room, self.action.call.identity)
        self._removed = True

    async def _swap(self) -> None:
        """The new agent stands ready: the old one out of the room, the new one in."""
        self.journals.keep(self._journal, self._job)
        began = time.monotonic()
        await self._remove()
        self._left(began)
        self.journals.pass_on(self._journal, self._job)
        await self._delete(*self._theirs)

    def _left(self, since: float) -> None:
        self._removed = True
        self.watch.left_alone(since)

    async def _adopt(self, people: list[Participant], earlier: list[Dispatch]) -> None:
        """An agent of an earlier attempt came after all."""
        late = {job.identity for each in earlier for job in each.jobs}
        for each in people:
            if each.identity in late and each.is_active_agent:
                await self._remove()
                raise Finished(Recovered(each.identity))

    def _learn(self, dispatches: list[Dispatch], earlier: list[Dispatch]) -> None:
        """What the old agent was dispatched with, and what of it has to go."""
        ours = [each for each in dispatches if self._sent(each)]
        if any(job.type not in (WHOLE_ROOM, "") for each in ours for job in each.jobs):
            raise Finished(Failed(NOT_ROOM, final=True))
        self.model = next(reversed([*earlier, *ours]), self.model)
        name = self.model.attributes.get(heartbeat.JOURNAL, "")
        if not heartbeat.is_journal_name(name):
            name = heartbeat.journal_name(self._room, self._job)
        self._journal = name
        if self.untouched:
            name = self.journals.next_name(name, self._job)
        attributes = {key: value for key, value in self.model.attributes.items() if key != heartbeat.AFTER}
        self.model = replace(self.model, attributes={**attributes, heartbeat.JOURNAL: name})
        self._stale, self._theirs = [each.id for each in earlier], [each.id for each in ours]

    def _sent(self, dispatch: Dispatch) -> bool:
        """Whether the old agent came of this dispatch."""
        return dispatch.id == self.action.call.dispatch or any(job.id == self._job for job in dispatch.jobs)

    async def _dispatch(self) -> None:
        """What is deleted takes its job along: the one of an agent that is still needed comes to that later."""
        attributes = {heartbeat.RECOVERS: self._job}
        if self.untouched:
            attributes[heartbeat.AFTER] = self.action.call.identity
        else:
            self._stale += self._theirs
        self._perhaps = True
        made = await self.api.create(self._room, self.model, attributes)
        self._own, self._offered, self._perhaps = made.id, time.monotonic(), False

    async def _delete(self, *dispatches: str) -> None:
        """One that stays listed does no harm."""
        for each in dispatches:
            with contextlib.suppress(ApiError):
                await self.api.delete(self._room, each)

    async def _look(self, people: list[Participant]) -> None:
        for each in people:
            if each.kind == AGENT and each.sid not in (self._strangers or ()) and each.sid not in self.taken:
                self.taken_up = True
                if each.is_active_agent and not self.untouched:
                    self.taken[each.sid] = None
                    raise Finished(Recovered(each.identity))
        if not any(each.is_caller for each in people):
            await self._delete(self._own)
            raise Finished(Alone())

    async def _pause(self) -> None:
        """Until the next look; that a worker here takes the job is noticed at once. No agent joins within a look."""
        until = time.monotonic() + POLL_EARLY
        while not self.taken_up and time.monotonic() < until:
            await asyncio.sleep(NOTICE)
            self.taken_up = self.watch.started_here()
            if self.taken_up and self.untouched:
                return
        if self.taken_up:
            await asyncio.sleep(between_looks(len(self.under_way)))

    async def _offer_again(self) -> None:
        """Ask the server whether a worker took the job; if none did, offer it once more."""
        own = next((each for each in await self.api.dispatches(self._room) if each.id == self._own), None)
        self._offered = time.monotonic()
        self.taken_up = own is not None and bool(own.jobs)
        if not self.taken_up:
            await self._delete(self._own)
            self._own = ""
            await self._dispatch()
