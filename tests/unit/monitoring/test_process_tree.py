"""Which process belongs to which worker: descent decides, a name or an environment nothing."""

import os

import psutil
import pytest

from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.monitoring import orphan_origin
from mindbot_supervisor.monitoring.process_tree import ProcessTree
from unit.monitoring.made_up_host import ME, MadeUpHost

A, B = Ref(0, 1), Ref(1, 1)
TEMPLATE, JOBS = 300, 301


@pytest.fixture
def host(monkeypatch):
    made = MadeUpHost().put(monkeypatch)
    made.origins = {}
    monkeypatch.setattr(orphan_origin, "find", lambda orphan, _: made.origins.get(orphan.pid))
    return made


@pytest.fixture
def tree(host):
    """Two workers, a template, and its server of job processes."""
    made = ProcessTree()
    host.start(100, ME)
    host.start(200, ME)
    host.start(TEMPLATE, ME)
    host.start(JOBS, TEMPLATE, session=TEMPLATE)
    made.take(100, A)
    made.take(200, B)
    made.jobservers, made.templates = frozenset({JOBS}), {TEMPLATE}
    return made


def look(tree):
    return {ref: sorted(each.pid for each in members) for ref, members in tree.look().items()}


def test_descendants_belong_to_their_root_at_any_depth(host, tree):
    host.start(101, 100)
    host.start(102, 101, session=102)
    assert look(tree) == {A: [100, 101, 102], B: [200]}


def test_a_member_of_the_session_belongs_to_it_though_its_parent_is_gone(host, tree):
    host.start(101, ME, session=100)
    host.start(102, 1, session=100)
    assert look(tree) == {A: [100, 101, 102], B: [200]}


def test_a_process_once_seen_stays_known_whatever_becomes_of_its_parents(host, tree):
    host.start(101, 100)
    host.start(102, 101, session=102)
    look(tree)
    host.end(101)
    host.move(102, ME)
    assert look(tree)[A] == [100, 102]
    assert sorted(each.pid for each in tree.known(A)) == [100, 102]
    host.end(100)
    assert look(tree)[A] == [102]


def test_a_child_of_a_worker_that_is_not_known_yet_is_the_workers_once_it_is(host, tree):
    host.start(400, ME)
    host.start(401, 400, session=401)
    assert look(tree) == {A: [100], B: [200]}
    tree.take(400, Ref(2, 1))
    assert look(tree)[Ref(2, 1)] == [400, 401]


def test_a_later_process_with_the_same_pid_is_nobodys(host, tree):
    host.start(101, 100, session=101)
    look(tree)
    host.start(101, 50, session=101, started=9.0)
    assert not tree.table.processes[101].lives
    tree.drop(101)
    assert look(tree)[A] == [100]


def test_an_orphan_belongs_to_whom_what_it_holds_tells_and_is_examined_only_a_few_times(host, tree, monkeypatch):
    asked = []

    def find(orphan, _):
        asked.append(orphan.pid)
        return host.origins.get(orphan.pid)

    monkeypatch.setattr(orphan_origin, "find", find)
    host.start(500, ME)
    for _ in range(9):
        assert look(tree) == {A: [100], B: [200]}
    assert asked.count(500) == 3
    host.start(501, ME)
    host.origins[501] = B
    assert look(tree)[B] == [200, 501]


def test_what_an_orphan_leaves_behind_is_an_orphan(host, tree):
    host.start(500, ME)
    host.start(501, 500)
    look(tree)
    host.end(500)
    host.move(501, ME)
    host.origins[501] = A
    look(tree)
    assert look(tree)[A] == [100, 501]


def test_a_worker_gets_the_job_processes_that_it_names_and_what_descends_from_them(host, tree):
    host.start(302, JOBS, session=TEMPLATE)
    host.start(303, JOBS, session=TEMPLATE)
    host.start(304, 302, session=304)
    assert look(tree) == {A: [100], B: [200]}
    tree.named = {A: (302,), B: (303,)}
    assert look(tree) == {A: [100, 302, 304], B: [200, 303]}


def test_the_job_processes_of_a_job_server_that_died_can_still_be_named(host, tree):
    host.start(302, JOBS, session=TEMPLATE)
    look(tree)
    host.end(JOBS)
    host.move(302, ME)
    host.start(303, ME, session=TEMPLATE)  # never seen while its parent lived
    tree.jobservers, tree.named = frozenset(), {A: (302, 303)}
    assert look(tree)[A] == [100, 302, 303]


@pytest.mark.parametrize(
    "pid",
    [1, 50, ME, 200, TEMPLATE, JOBS, 305, 306, 201],
    ids=[
        "init",
        "a stranger",
        "the daemon",
        "a sibling",
        "template",
        "job server",
        "tracker",
        "another user's",
        "a child",
    ],
)
def test_a_worker_does_not_get_what_else_it_names(host, tree, pid):
    host.start(201, 200)
    host.start(305, TEMPLATE, session=TEMPLATE)
    host.start(306, JOBS, session=TEMPLATE, uid=os.getuid() + 1)
    before = look(tree)
    tree.named[A] = (pid,)
    assert look(tree) == before


def test_a_job_process_that_two_workers_name_counts_for_none_and_that_is_told_once(host, tree):
    told = []
    tree.contested = lambda pid, refs: told.append((pid, refs))
    host.start(302, JOBS, session=TEMPLATE)
    tree.named[A] = (302,)
    assert look(tree)[A] == [100, 302]
    tree.named[B] = (302,)
    for _ in range(3):
        assert look(tree) == {A: [100], B: [200]}
    assert told == [(302, [A, B])]
    tree.named[A] = ()
    assert look(tree)[B] == [200, 302], "nobody else names it any more"


def test_a_worker_that_takes_over_anothers_job_process_after_its_last_beat_does_not_get_it(host, tree):
    host.start(302, JOBS, session=TEMPLATE)
    tree.named[A] = (302,)
    look(tree)
    tree.named = {A: (), B: (302,)}
    assert look(tree) == {A: [100], B: [200]}


def test_what_a_dead_worker_named_is_free_for_whom_it_belongs_to(host, tree):
    host.start(302, JOBS, session=TEMPLATE)
    tree.named = {A: (302,), B: (302,)}
    look(tree)
    host.end(100)
    tree.forget(A)
    assert look(tree) == {B: [200, 302]}


def test_what_a_daemon_before_us_recorded_belongs_to_its_worker(host, tree):
    host.start(700, 1)
    host.start(701, 1, started=7.0)
    host.start(702, 1, started=8.0)
    look(tree)
    tree.take(700, Ref(3, 2))
    tree.restore_members(Ref(3, 2), [(701, 7.0), (702, 7.5)])
    assert look(tree)[Ref(3, 2)] == [700, 701], "702 is another process by now"
    tree.forget(Ref(3, 2))
    assert not tree.recorded


def test_an_orphan_ends_when_all_that_could_have_started_it_is_gone(host, tree):
    host.start(500, ME, started=5.0)
    for pid, started in ((100, 2.0), (200, 6.0), (TEMPLATE, 9.0), (JOBS, 9.0)):
        host.facts[pid].started = started
    look(tree)
    known = {TEMPLATE}
    assert tree.without_older_root(known) == []
    host.end(100)
    tree.forget(A)
    look(tree)
    assert [each.pid for each in tree.without_older_root(known)] == [500]
    assert tree.without_older_root({*known, 999}) == [], "a child that is not seen yet may be the one"


def test_all_that_descends_from_us_is_found_but_for_services_and_what_they_started(host, tree):
    for pid, ppid in ((800, ME), (801, 800), (802, 801), (500, ME), (501, 500), (302, JOBS)):
        host.start(pid, ppid)
    look(tree)
    tree.forget(A)
    tree.forget(B)
    host.end(JOBS)
    tree.jobservers = frozenset()
    look(tree)
    assert sorted(each.pid for each in tree.descendants(without={800, TEMPLATE})) == [100, 200, 302, 500, 501]


def test_what_was_there_before_the_daemon_began_is_left_alone_and_what_it_starts_too(host, tree):
    """A shell that starts something, and becomes the daemon by exec."""
    tree.began = 50.0
    for pid in (100, 200, TEMPLATE, JOBS):
        host.facts[pid].started = 60.0
    host.start(600, ME, started=40.0)
    host.start(601, 600, started=90.0)
    host.start(500, ME, started=90.0)
    host.origins[600] = A
    look(tree)
    host.end(600)
    host.move(601, ME)
    assert look(tree) == {A: [100], B: [200]}
    tree.roots.clear()
    assert sorted(each.pid for each in tree.descendants(without={TEMPLATE})) == [100, 200, 500]


def test_a_template_is_never_taken_for_an_orphan_of_the_worker_that_it_forks(host, tree):
    """It holds the pipes of a worker for a moment."""
    host.origins[TEMPLATE] = A
    assert look(tree) == {A: [100], B: [200]}


def test_as_pid_1_of_a_container_nobodys_orphans_are_ended_with_a_worker(host, tree):
    host.start(500, ME, started=0.5)
    look(tree)
    assert tree.without_older_root({TEMPLATE})
    tree.me = 1
    assert tree.without_older_root({TEMPLATE}) == []


def test_the_supervisor_itself_and_its_parents_belong_to_nobody(host):
    assert look(ProcessTree()) == {}


def test_a_look_that_fails_changes_nothing_of_what_is_known(host, tree, monkeypatch):
    host.start(101, 100)
    look(tree)

    def no_descriptor():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(psutil, "pids", no_descriptor)
    with pytest.raises(OSError, match="Too many"):
        tree.look()
    assert sorted(each.pid for each in tree.known(A)) == [100, 101]
