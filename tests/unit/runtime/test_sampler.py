"""When a tree's PSS is read: where it matters, and for everybody now and then."""

import threading

import pytest

from mindbot_supervisor.core.model import Ref
from mindbot_supervisor.runtime import memory, oom, pressure
from mindbot_supervisor.runtime.family import Family
from mindbot_supervisor.runtime.proctable import Proc
from mindbot_supervisor.runtime.sampler import FULL_EVERY, MOVED, QUIET_EVERY, Sampler

A = Ref(0, 1)
SOFT = 300.0


class Tree:
    """A worker with one process, whose RSS the test sets; PSS is always half of it."""

    def __init__(self, monkeypatch):
        self.rss, self.full = 100.0, 0
        monkeypatch.setattr(oom, "read", lambda *_: {})
        monkeypatch.setattr(pressure, "look", lambda: None)
        self.sampler = Sampler(Family("/r", roots={100: A}), threading.Lock(), 1.0, SOFT, lambda _: None)
        self.sampler._scan = self.sampler._footprints = self

    def look(self, now, *_):
        """In place of the scan, for the sampler."""
        return {100: Proc(100, 1, 100, "S", 1, int(now * 100), int(self.rss * memory.MB))}

    def keep(self, _):
        pass

    def of(self, *_):
        """In place of the footprints."""
        self.full += 1
        return self.rss / 2, self.rss / 4, self.rss

    def at(self, now: float):
        """The sample, and whether it was a full reading."""
        before = self.full
        sample = self.sampler.look(now).samples[A]
        return sample, self.full > before


@pytest.fixture
def tree(monkeypatch):
    return Tree(monkeypatch)


def test_a_quiet_tree_is_read_in_full_now_and_then(tree):
    assert tree.at(0.0)[1]
    assert not any(tree.at(float(now))[1] for now in range(1, int(QUIET_EVERY)))
    assert tree.at(QUIET_EVERY)[1]


def test_one_whose_rss_moves_is_read_every_ten_seconds(tree):
    tree.at(0.0)
    tree.rss += MOVED
    sample, full = tree.at(FULL_EVERY - 1)
    assert (sample.pss_mb, sample.rss_mb, full) == (50.0, 101.0, False)
    assert tree.at(FULL_EVERY)[1]


def test_one_that_grows_above_the_soft_limit_is_read_each_time(tree):
    tree.at(0.0)
    for now in range(1, 5):
        tree.rss = SOFT + 20 * now
        sample, full = tree.at(float(now))
        assert full
        assert sample.pss_mb == tree.rss / 2


def test_one_above_the_soft_limit_that_stands_still_is_not(tree):
    tree.rss = SOFT + 100
    tree.at(0.0)
    tree.rss += MOVED / 2
    assert not tree.at(1.0)[1]
    assert tree.at(FULL_EVERY)[1]


def test_what_works_for_all_workers_is_sampled_by_pid_while_it_is_there(tree):
    tree.sampler.helpers = frozenset({100, 101})
    looked = tree.sampler.look(0.0)
    assert set(looked.helpers) == {100}
    assert looked.helpers[100].pss_mb == tree.rss / 2
    tree.sampler.helpers = frozenset()
    assert tree.sampler.look(1.0).helpers == {}


def test_cpu_is_of_one_core_since_the_sample_before(tree):
    tree.at(0.0)
    assert tree.at(2.0)[0].cpu_percent == pytest.approx(100.0)
