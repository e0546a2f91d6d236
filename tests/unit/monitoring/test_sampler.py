"""What a round of the sampler finds; when a tree's PSS is read: where it matters, and for everybody at times."""

import psutil
import pytest

from mindbot_supervisor.core.health.host_pressure import Host
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.monitoring import host_pressure_reader, oom_killer, orphan_origin
from mindbot_supervisor.monitoring.process_tree import ProcessTree
from mindbot_supervisor.monitoring.sampler import FULL_EVERY, MOVED, QUIET_EVERY, Sampler
from unit.monitoring.made_up_host import MB, ME, MadeUpHost

A, B = Ref(0, 1), Ref(1, 1)
SOFT = 300.0


class Watched:
    """A worker with one process, whose RSS the test sets; PSS is always half of it."""

    def __init__(self, monkeypatch):
        self.host = MadeUpHost().put(monkeypatch)
        monkeypatch.setattr(oom_killer, "read", lambda *_: {})
        monkeypatch.setattr(host_pressure_reader, "look", lambda *_: Host())
        monkeypatch.setattr(orphan_origin, "find", lambda *_: None)
        self.host.start(100, ME)
        self.tree = ProcessTree()
        self.tree.take(100, A)
        self.sampler = Sampler(self.tree, SOFT)
        self.rss = 100.0

    @property
    def rss(self):
        return self.host.facts[100].rss / MB

    @rss.setter
    def rss(self, mb):
        self.host.facts[100].rss = int(mb * MB)

    def at(self, now):
        """The sample, and whether it was a full reading."""
        before = len(self.host.full_reads)
        sample = self.sampler.look(now).samples[A]
        return sample, len(self.host.full_reads) > before


@pytest.fixture
def one(monkeypatch):
    return Watched(monkeypatch)


def test_a_quiet_tree_is_read_in_full_now_and_then(one):
    assert one.at(0.0)[1]
    assert not any(one.at(float(now))[1] for now in range(1, int(QUIET_EVERY)))
    assert one.at(QUIET_EVERY)[1]


def test_one_whose_rss_moves_is_read_every_ten_seconds(one):
    one.at(0.0)
    one.rss += MOVED
    sample, full = one.at(FULL_EVERY - 1)
    assert (sample.pss_mb, sample.rss_mb, full) == (50.0, 101.0, False)
    assert one.at(FULL_EVERY)[1]


def test_one_that_grows_above_the_soft_limit_is_read_each_time(one):
    one.at(0.0)
    for now in range(1, 5):
        one.rss = SOFT + 20 * now
        sample, full = one.at(float(now))
        assert full
        assert sample.pss_mb == one.rss / 2


def test_one_above_the_soft_limit_that_stands_still_is_not(one):
    one.rss = SOFT + 100
    one.at(0.0)
    one.rss += MOVED / 2
    assert not one.at(1.0)[1]
    assert one.at(FULL_EVERY)[1]


def test_all_of_a_tree_count_and_only_those_that_live(one):
    one.host.start(101, 100, rss=10 * MB)
    one.host.start(102, 100, rss=10 * MB, status=psutil.STATUS_ZOMBIE)
    sample, _ = one.at(0.0)
    assert (sample.processes, sample.rss_mb) == (2, 110.0)
    one.host.end(101)
    assert one.at(1.0)[0].processes == 1


def test_a_pid_that_somebody_else_has_by_now_does_not_count(one):
    one.host.start(101, 100, rss=10 * MB)
    one.at(0.0)
    one.host.start(101, 50, rss=5000 * MB, started=9.0)
    sample, _ = one.at(1.0)
    assert (sample.processes, sample.rss_mb) == (1, 100.0)
    assert one.at(2.0)[0].processes == 1


def test_a_pid_that_one_of_our_own_has_by_now_counts_anew(one):
    one.host.start(101, 100)
    one.at(0.0)
    one.host.start(101, 100, rss=20 * MB, started=9.0)
    one.at(1.0)
    assert one.at(2.0)[0].rss_mb == 120.0


def test_what_works_for_all_workers_is_sampled_by_pid_while_it_is_there(one):
    one.host.start(300, ME, rss=100 * MB)
    one.sampler.helpers = frozenset({300, 301})
    looked = one.sampler.look(0.0)
    assert set(looked.helpers) == {300}
    assert looked.helpers[300].pss_mb == 50.0
    assert set(looked.samples) == {A}
    one.sampler.helpers = frozenset()
    assert one.sampler.look(1.0).helpers == {}


def test_cpu_is_of_one_core_since_the_sample_before(one):
    one.at(0.0)
    one.host.facts[100].cpu = 2.0
    assert one.at(2.0)[0].cpu_percent == pytest.approx(100.0)
    one.host.facts[100].cpu = 1.0
    assert one.at(4.0)[0].cpu_percent == 0.0, "members that ended are no negative work"


def test_the_dead_that_were_left_to_us_are_told_and_what_the_session_does_not_show(one):
    one.host.start(101, 100, session=101)
    one.host.start(102, 100, session=100)
    one.host.start(103, ME, status=psutil.STATUS_ZOMBIE)
    looked = one.sampler.look(0.0)
    assert looked.zombies == [103]
    assert {ref: {each.pid for each in found} for ref, found in looked.beyond.items()} == {A: {101}}


def test_the_gap_between_two_rounds_is_told(one):
    assert [one.sampler.look(now).gap for now in (5.0, 6.0, 21.0)] == [0.0, 1.0, 15.0]


def test_where_psutil_fails_sampling_fails(one, monkeypatch):
    one.at(0.0)

    def broken(*_):
        raise RuntimeError("psutil is not itself today")

    monkeypatch.setattr(psutil, "pids", broken)
    with pytest.raises(RuntimeError, match="not itself"):
        one.sampler.look(1.0)


def test_where_no_descriptor_is_left_nobody_is_taken_for_gone(one, monkeypatch):
    one.host.start(101, 100)
    one.at(0.0)
    handle = one.tree.table.processes[101].handle
    monkeypatch.setattr(type(handle), "is_running", lambda _: (_ for _ in ()).throw(OSError(24, "Too many open files")))
    with pytest.raises(OSError, match="Too many"):
        one.sampler.look(1.0)
    monkeypatch.undo()
    assert set(one.tree.table.processes) >= {100, 101}
