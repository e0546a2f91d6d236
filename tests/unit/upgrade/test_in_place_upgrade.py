"""An upgrade that does not come about, at whatever point, leaves the daemon able to go on and to try again."""

import asyncio
import os
import signal
from types import SimpleNamespace

import pytest

from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.workers import snapshot
from mindbot_supervisor.errors import Refused
from mindbot_supervisor.upgrade import in_place_upgrade as upgrade
from mindbot_supervisor.upgrade import state_file
from mindbot_supervisor.upgrade.state_file import State
from unit.core.build import policy


class Asked:
    """A new version that agrees to everything."""

    def __init__(self, _: object) -> None:
        self.ended = 0

    async def start(self, state: State) -> None:
        pass

    def prove(self, state: State) -> int:
        return state_file.write(state)

    def end(self) -> None:
        self.ended += 1


class Unwilling(Asked):
    def prove(self, state: State) -> int:
        raise Refused("the new version cannot start: no such field; the old one goes on")


@pytest.fixture
def kept():
    """A descriptor that would be handed over."""
    fd = os.open("/dev/null", os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def upgrader(monkeypatch, kept):
    monkeypatch.setattr(upgrade, "NewVersion", Asked)
    monkeypatch.setattr(upgrade, "ANSWER_FIRST", 0.0)
    pool = Pool(policy(), 0.0)
    notes: list[dict] = []
    done: list[str] = []
    state = State(snapshot.take(pool), [], lock=kept, control=kept, http=None, started=0.0)
    made = upgrade.Upgrader(
        engine=SimpleNamespace(pool=pool, settled=settled),
        handed_over=lambda: state,
        before_exec=lambda: done.append("flushed"),
        note=lambda event, level, **fields: notes.append({"event": event, "level": level, **fields}),
        children=set(),
        signals=[signal.SIGUSR1],
    )
    return made, notes, done


async def settled(_: float) -> None:
    await asyncio.sleep(0)


async def tried(made: upgrade.Upgrader, notes: list[dict]) -> str:
    """The reason that is in the log, once there is one more."""
    before = len(notes)
    await made.upgrade()
    for _ in range(200):
        if len(notes) > before:
            return notes[-1]["detail"]
        await asyncio.sleep(0.01)
    raise AssertionError("nothing was told")


async def test_an_exec_that_fails_leaves_everything_as_it_was(upgrader, monkeypatch, kept):
    made, notes, done = upgrader
    executed: list[list[str]] = []

    def refuse(program: str, command: list[str], environ: dict[str, str]) -> None:
        assert os.get_inheritable(kept)
        assert os.get_inheritable(int(environ[state_file.VARIABLE]))
        executed.append(command)
        raise OSError(7, "Argument list too long")

    monkeypatch.setattr(os, "execve", refuse)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for turn in (1, 2):
        assert await tried(made, notes) == "exec failed: Argument list too long"
        assert notes[-1] == {"event": "upgrade.refused", "level": "error", "detail": notes[-1]["detail"]}
        assert len(executed) == len(done) == turn
    assert executed[0][1] == "-P", "the working directory is not searched"
    assert not os.get_inheritable(kept)
    assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_a_version_that_cannot_go_on_with_the_last_state_is_refused(upgrader, monkeypatch):
    made, notes, _ = upgrader
    monkeypatch.setattr(upgrade, "NewVersion", Unwilling)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("it must not be run"))
    assert "no such field" in await tried(made, notes)


async def test_a_state_that_cannot_be_put_together_is_refused_and_the_next_upgrade_is_possible(upgrader, monkeypatch):
    made, notes, _ = upgrader
    state = made.handed_over
    made.handed_over = lambda: {}["no such key"]
    for _ in range(2):
        with pytest.raises(Refused, match="the state cannot be put together: KeyError"):
            await made.upgrade()
    made.handed_over = state
    monkeypatch.setattr(os, "execve", lambda *_: (_ for _ in ()).throw(OSError(2, "No such file or directory")))
    assert "exec failed" in await tried(made, notes)


async def test_a_stop_in_the_last_moment_is_not_forgotten(upgrader, monkeypatch):
    made, notes, _ = upgrader
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("it must not be run"))

    async def stop_meanwhile(_: float) -> None:
        made.engine.pool.stop(1.0)

    made.engine.settled = stop_meanwhile
    assert await tried(made, notes) == "the daemon is stopping"


async def test_there_is_one_upgrade_at_a_time(upgrader):
    made, _, _ = upgrader
    made._new = Asked(None)
    with pytest.raises(Refused, match="an upgrade is under way"):
        await made.upgrade()


async def test_a_caller_that_goes_away_while_it_waits_leaves_no_upgrade_behind(upgrader, monkeypatch):
    made, _, _ = upgrader

    class Slow(Asked):
        async def start(self, state: State) -> None:
            await asyncio.sleep(60)

    monkeypatch.setattr(upgrade, "NewVersion", Slow)
    asking = asyncio.create_task(made.upgrade())
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert made._new is None
