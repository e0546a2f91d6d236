"""The providers' faults: each kind of fault of each provider, once and for good, and what must come of it.

All cells share one pool and are played side by side in real calls. Each call has models of its own, named after its
room: so a fault can be told for one call, and a rest that a provider asks for one model holds only there.
The table below is the specification. `make provider-faults` plays all of it and prints what was seen.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from functional.daemon import Daemon, Record
from live.caller import Caller, calling, load_phrases
from live.livekit import Local, find_livekit_server, running_local
from live.supervised import answered, ready, supervised, wait

STT, LLM, TTS = "stt", "llm", "tts"
SETTING = {STT: "stt_model", LLM: "llm_model", TTS: "tts_model"}
MODEL = {STT: "nova-3", LLM: "gpt-4.1", TTS: "gpt-4o-mini-tts"}
GREETING, EXCUSE, APOLOGY, ANSWER, BEGINNING = "greeting", "excuse", "apology", "answer", "its beginning"
"""What the caller hears."""
WORDS = {"Good day.": GREETING, "Pardon?": EXCUSE, "I cannot go on.": APOLOGY, "You said:": BEGINNING}
TEXT = {kind: text for text, kind in WORDS.items()}
PHRASE = next(iter(load_phrases()))

WORKERS, AT_ONCE = 2, 4
SETTINGS = {
    "VOICE__GREETING": TEXT[GREETING],
    "VOICE__EXCUSE": TEXT[EXCUSE],
    "VOICE__APOLOGY": TEXT[APOLOGY],
    "VOICE__FAILED_REPLIES": "2",
    "VOICE__STT_FALLBACKS": "[]",
    "VOICE__DEAF_AFTER": "3",
    "VOICE__REPLY_TIMEOUT": "3",
    "LIMITS__ERROR_WINDOW": "3600",
}
PATIENCE = 75.0
"""Seconds in which a call must have come to its answer or to its end, on a busy machine."""

SPOKEN = 0.3
"""Seconds that anything spoken takes at least, from its request: what ends sooner was something else."""

AGENT = f"""
from livekit.agents import AgentServer
from mindbot_worker import mindbot as voice

server = AgentServer(setup_fnc=voice.prepare)
MODELS = {tuple(SETTING.values())!r}

@server.rtc_session()
async def call(context):
    settings = context.proc.userdata[voice.SETTINGS]
    models = {{name: f"{{getattr(settings.voice, name)}}-{{context.job.room.name}}" for name in MODELS}}
    own = settings.voice.model_copy(update=models)
    context.proc.userdata[voice.SETTINGS] = settings.model_copy(update={{"voice": own}})
    await voice.converse(context)
"""


@dataclass(frozen=True)
class Fault:
    """What the stand-in is told, see mindbot_worker.standins.faults."""

    name: str
    fault: str
    details: dict[str, Any] = field(default_factory=dict, hash=False)


REFUSED = Fault("401", "status", {"status": 401})
LIMITED = Fault("429, Retry-After 2", "status", {"status": 429, "retry_after": 2})
BROKEN = Fault("500", "status", {"status": 500})
STALLED = Fault("stall", "stall")
CUT = Fault("cut stream", "cut", {"after": 2})
ABNORMAL = 1006
"""Of a WebSocket that broke: there was no status. The plugin tells it or nothing, whichever end sees it first."""
DROPPED = Fault("dropped websocket", "drop", {"after": 0.3})
EMPTY = Fault("empty", "empty")


@dataclass(frozen=True)
class Cell:
    """One fault of one provider, and what must come of it. A call goes on if the last it hears is an answer."""

    kind: str
    fault: Fault
    times: int
    heard: tuple[str, ...]
    errors: frozenset[tuple[int | None, bool]]
    """Of the log: each status, None where there is none, and whether that error was recoverable."""
    usual: bool = False
    """Played in every test run; the others with PROVIDER_FAULTS=all."""
    or_heard: tuple[str, ...] = ()
    """The same without an excuse: where the ears are back before the caller pauses, what is said then is answered."""

    @property
    def name(self) -> str:
        return f"{self.kind}, {self.fault.name}, {'once' if self.times == 1 else 'lasting'}"

    @property
    def room(self) -> str:
        return re.sub(r"\W+", "-", self.name)

    @property
    def model(self) -> str:
        return f"{MODEL[self.kind]}-{self.room}"

    @property
    def ends(self) -> bool:
        return self.heard[-1] != ANSWER


def once(kind: str, fault: Fault, *heard: str, errors: str, usual: bool = False) -> Cell:
    return _cell(kind, fault, 1, heard, errors, usual)


def deaf(fault: Fault, *heard: str, usual: bool = False) -> Cell:
    """Connected anew: no error yet."""
    return replace(_cell(STT, fault, 1, heard, "", usual), or_heard=(GREETING, ANSWER))


def lasting(kind: str, fault: Fault, *heard: str, errors: str, usual: bool = False) -> Cell:
    return _cell(kind, fault, 1000, heard, errors, usual)


def _cell(kind: str, fault: Fault, times: int, heard: tuple[str, ...], errors: str, usual: bool) -> Cell:
    status = fault.details.get("status")
    told = frozenset((status, word == RECOVERABLE) for word in errors.split())
    return Cell(kind, fault, times, (GREETING, *heard), told, usual)


RECOVERABLE, FINAL = "recoverable", "final"
BOTH = f"{RECOVERABLE} {FINAL}"

# provider, fault, what the caller hears after the greeting, and which errors are logged
CELLS = [
    once(STT, REFUSED, ANSWER, errors=FINAL),
    once(STT, LIMITED, ANSWER, errors=RECOVERABLE),
    once(STT, BROKEN, ANSWER, errors=RECOVERABLE),
    deaf(STALLED, EXCUSE, ANSWER, usual=True),
    once(STT, DROPPED, ANSWER, errors=RECOVERABLE, usual=True),
    deaf(EMPTY, EXCUSE, ANSWER),
    once(LLM, REFUSED, EXCUSE, ANSWER, errors=FINAL),
    once(LLM, LIMITED, ANSWER, errors=RECOVERABLE),
    once(LLM, BROKEN, ANSWER, errors=RECOVERABLE, usual=True),
    once(LLM, STALLED, ANSWER, errors=RECOVERABLE),
    once(LLM, CUT, BEGINNING, EXCUSE, ANSWER, errors=FINAL, usual=True),
    once(LLM, EMPTY, EXCUSE, ANSWER, errors=FINAL, usual=True),
    once(TTS, REFUSED, EXCUSE, ANSWER, errors=FINAL),
    once(TTS, LIMITED, ANSWER, errors=RECOVERABLE, usual=True),
    once(TTS, BROKEN, ANSWER, errors=RECOVERABLE),
    once(TTS, STALLED, ANSWER, errors=RECOVERABLE),
    once(TTS, CUT, ANSWER, errors=RECOVERABLE),
    once(TTS, EMPTY, ANSWER, errors=RECOVERABLE, usual=True),
    lasting(STT, REFUSED, APOLOGY, errors=FINAL, usual=True),
    lasting(STT, LIMITED, EXCUSE, APOLOGY, errors=BOTH),
    lasting(STT, BROKEN, EXCUSE, APOLOGY, errors=BOTH, usual=True),
    lasting(STT, STALLED, EXCUSE, APOLOGY, errors=FINAL),
    lasting(STT, DROPPED, EXCUSE, APOLOGY, errors=RECOVERABLE),  # the final ones have a status or none
    lasting(STT, EMPTY, EXCUSE, APOLOGY, errors=FINAL),
    lasting(LLM, REFUSED, EXCUSE, APOLOGY, errors=FINAL),
    lasting(LLM, LIMITED, EXCUSE, APOLOGY, errors=BOTH),
    lasting(LLM, BROKEN, EXCUSE, APOLOGY, errors=BOTH),
    lasting(LLM, STALLED, EXCUSE, APOLOGY, errors=BOTH, usual=True),
    lasting(LLM, CUT, BEGINNING, EXCUSE, BEGINNING, APOLOGY, errors=FINAL),
    lasting(LLM, EMPTY, EXCUSE, APOLOGY, errors=FINAL),
    lasting(TTS, REFUSED, errors=FINAL),
    lasting(TTS, LIMITED, errors=BOTH),
    lasting(TTS, BROKEN, errors=BOTH, usual=True),
    lasting(TTS, STALLED, errors=BOTH, usual=True),
    lasting(TTS, CUT, errors=BOTH),
    lasting(TTS, EMPTY, errors=BOTH),
]


@dataclass
class Played:
    """What came of one cell."""

    heard: tuple[str, ...] = ()
    inaudible: tuple[str, ...] = ()
    """What was spoken to the caller and did not arrive."""
    ended: bool = False
    """Whether the other side ended the line."""
    silence: float = 0.0
    """The longest time from the caller's last word to a sound, or to the end of the line."""
    errors: Counter[tuple[str, int | None, bool]] = field(default_factory=Counter)
    """Of the log: kind, status, recoverable."""
    told: list[str] = field(default_factory=list)
    """The kinds of the agent.error lines."""
    counted: int = 0
    """Errors of this call in its worker's heartbeat."""


@dataclass
class Pool:
    """What was seen of the pool when all calls had ended."""

    workers: list[Record]
    records: list[Record]
    log: str
    cells: dict[Cell, Played]


async def play(cells: Iterable[Cell], folder: Path, local: Local) -> Pool:
    (folder / "many_models.py").write_text(AGENT)
    with supervised(folder, local, "--agent", "many_models:server", workers=WORKERS, **SETTINGS) as daemon:
        await ready(daemon, WORKERS)
        seats = asyncio.Semaphore(AT_ONCE)

        async def one(cell: Cell) -> Played:
            async with seats:
                return await _play(cell, daemon, local)

        played = await asyncio.gather(*(one(cell) for cell in cells))
        await asyncio.to_thread(daemon.until, lambda: not daemon.status()["calls"]["active"])
        workers, records = daemon.status()["workers"], list(daemon.records)
        assert await asyncio.to_thread(daemon.terminate, 60) == 0
        return Pool(workers, records, daemon.tail(1_000_000), dict(zip(cells, played, strict=True)))


async def _play(cell: Cell, daemon: Daemon, local: Local) -> Played:
    seen = Played()
    if cell.kind == STT:
        await _break(cell, local)
    async with calling(local.server, cell.room) as caller:
        gone = asyncio.Event()
        caller.room.on("disconnected", lambda *_: gone.set())
        await answered(daemon, cell.room)
        await _next(caller, gone, 0.0, 30)
        if cell.kind != STT:
            await _break(cell, local)
        await _talk(cell, caller, gone, seen, local)
        _note_spoken(cell, caller, seen, await asyncio.to_thread(local.seen, TTS))
        seen.ended = gone.is_set()
    ended = await wait(daemon, "call.ended", room=cell.room, timeout=60)
    seen.counted = int(ended.get("summary", {}).get("errors", 0))
    for each in daemon.events("job.error", room=cell.room):
        status = None if each.get("status") == ABNORMAL else each.get("status")
        seen.errors[each["kind"], status, each["recoverable"]] += 1
    seen.told = [each["kind"] for each in daemon.events("agent.error", room=cell.room)]
    return seen


async def _break(cell: Cell, local: Local) -> None:
    details = {**cell.fault.details, "times": cell.times, "model": cell.model}
    await asyncio.to_thread(lambda: local.break_next(cell.kind, cell.fault.fault, **details))


async def _talk(cell: Cell, caller: Caller, gone: asyncio.Event, seen: Played, local: Local) -> None:
    """As a caller does who wants an answer: say it, say it again when asked, or when nobody says anything."""
    until, waits_since = time.monotonic() + PATIENCE, 0.0
    again_after = 4.0 if cell.kind == STT else 30.0
    while not gone.is_set() and time.monotonic() < until and seen.heard[-1:] != (ANSWER,):
        said = await caller.say(PHRASE)
        waits_since = waits_since or said
        at = await _next(caller, gone, said, again_after)
        if at is None:
            continue
        seen.silence = max(seen.silence, at - waits_since)
        waits_since = 0.0
        _note_spoken(cell, caller, seen, await asyncio.to_thread(local.seen, TTS))


async def _next(caller: Caller, gone: asyncio.Event, since: float, within: float) -> float | None:
    """When the next sound came, or the end of the line; None if neither did. Returns when the sound is over."""
    ended = asyncio.create_task(gone.wait())
    heard = asyncio.create_task(_sound(caller, since, within))
    await asyncio.wait({ended, heard}, return_when=asyncio.FIRST_COMPLETED)
    at = heard.result() if heard.done() else time.monotonic()
    if heard.done() and at is not None:
        quiet = asyncio.create_task(caller.silence(0.8, within=30))
        await asyncio.wait({ended, quiet}, return_when=asyncio.FIRST_COMPLETED)
        quiet.cancel()
    heard.cancel()
    ended.cancel()
    return at


async def _sound(caller: Caller, since: float, within: float) -> float | None:
    try:
        return (await caller.hear(within, since=since)).started_at
    except TimeoutError:
        return None


def _note_spoken(cell: Cell, caller: Caller, seen: Played, asked: list[dict[str, Any]]) -> None:
    """What the voice was asked for and gave, sentence by sentence, and whether a sound came after it."""
    clock = time.time() - time.monotonic()
    given = [each for each in asked if each["model"] == f"{MODEL[TTS]}-{cell.room}" and not each["fault"]]
    said = [(WORDS.get(each["text"].strip(), ANSWER), each["at"] - clock) for each in given]
    whole = [each for at, each in enumerate(said) if at == 0 or said[at - 1][0] != each[0]]
    seen.heard = tuple(what for what, _ in whole)
    seen.inaudible = tuple(what for what, at in whole if caller.ears.last_sound() < at + SPOKEN)


# -- for people --------------------------------------------------------------------------------------------------------


def table(cells: dict[Cell, Played]) -> str:
    """As Markdown, a table for each provider."""
    return "\n\n".join(_table(kind, {c: seen for c, seen in cells.items() if c.kind == kind}) for kind in MODEL)


def _table(kind: str, cells: dict[Cell, Played]) -> str:
    head = ["fault", "the caller hears", "the call", "longest silence", "logged", "counted"]
    rows = [head, ["---"] * len(head)]
    rows += [[cell.name.removeprefix(f"{kind}, "), *_row(seen)] for cell, seen in cells.items()]
    return f"### {kind}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(seen: Played) -> list[str]:
    logged = [
        f"{count} × {status or 'no status'}, {RECOVERABLE if recoverable else FINAL}"
        for (_, status, recoverable), count in sorted(seen.errors.items(), key=str)
    ]
    heard = ", ".join(seen.heard) + (f" (not audible: {seen.inaudible})" if seen.inaudible else "")
    call = "ends" if seen.ended else "goes on"
    return [heard, call, f"{seen.silence:.1f} s", "; ".join(logged) or "-", str(seen.counted)]


def main(pattern: str = "") -> None:
    cells = [cell for cell in CELLS if re.search(pattern, cell.name)]
    with tempfile.TemporaryDirectory() as folder, running_local(livekit_server=find_livekit_server()) as local:
        began = time.monotonic()
        pool = asyncio.run(play(cells, Path(folder), local))
        print(table(pool.cells))
        print(f"\n{len(cells)} calls, {AT_ONCE} at once, in {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main(*sys.argv[1:])
