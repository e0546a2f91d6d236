"""Which process belongs to which worker."""

import os

from mindbot_supervisor.core.model import Ref
from mindbot_supervisor.runtime import proctable
from mindbot_supervisor.runtime.family import Family, orphan_zombies
from mindbot_supervisor.runtime.proctable import Proc

ME = os.getpid()
A, B = Ref(0, 1), Ref(1, 1)


def proc(pid: int, ppid: int, session: int | None = None, state: str = "S", started: int = 1, name: str = "") -> Proc:
    return Proc(pid, ppid, pid if session is None else session, state, started, 0, 0, name)


def sort(family: Family, *procs: Proc) -> dict[Ref, list[int]]:
    found = family.sort({each.pid: each for each in (proc(1, 0), proc(ME, 1), *procs)})
    return {ref: sorted(each.pid for each in tree) for ref, tree in found.items()}


def family() -> Family:
    return Family("/run/x", roots={100: A, 200: B})


def test_descendants_belong_to_their_root_at_any_depth():
    assert sort(family(), proc(100, ME), proc(101, 100), proc(102, 101, session=102), proc(200, ME)) == {
        A: [100, 101, 102],
        B: [200],
    }


def test_a_member_of_the_session_belongs_to_it_though_its_parent_is_gone():
    assert sort(family(), proc(101, ME, session=100)) == {A: [101]}
    assert sort(family(), proc(101, 1, session=100)) == {A: [101]}


def test_a_process_once_seen_stays_known_whatever_becomes_of_its_parents():
    kin = family()
    sort(kin, proc(100, ME), proc(101, 100, session=101))
    assert sort(kin, proc(101, 1, session=101)) == {A: [101]}


def test_known_of_a_worker_is_what_was_there_at_the_last_look():
    kin = family()
    sort(kin, proc(100, ME), proc(101, 100, started=7), proc(200, ME))
    assert sorted(kin.known(A)) == [(100, 1), (101, 7)]
    sort(kin, proc(101, ME, started=7), proc(200, ME))
    assert kin.known(A) == [(101, 7)]


def test_a_later_process_with_the_same_pid_is_a_stranger():
    kin = family()
    sort(kin, proc(100, ME), proc(101, 100, session=101))
    assert sort(kin, proc(101, 1, session=101, started=2)) == {}


def test_an_orphan_that_came_to_us_is_known_by_its_environment(monkeypatch):
    words = {"MINDBOT_RUNTIME_DIR": "/run/x", "MINDBOT_WORKER_NAME": "1.1"}
    monkeypatch.setattr(proctable, "environment", lambda _: words)
    assert sort(family(), proc(300, ME)) == {B: [300]}
    words["MINDBOT_RUNTIME_DIR"] = "/run/another"
    assert sort(family(), proc(300, ME)) == {}


def test_an_orphan_in_the_middle_of_its_exec_is_decided_on_later(monkeypatch):
    words = {}
    monkeypatch.setattr(proctable, "environment", lambda _: words)
    kin = family()
    assert sort(kin, proc(300, ME)) == {}
    assert kin.undecided
    words |= {"MINDBOT_RUNTIME_DIR": "/run/x", "MINDBOT_WORKER_NAME": "1.1"}
    assert sort(kin, proc(300, ME)) == {B: [300]}
    assert not kin.undecided


def test_an_orphan_that_was_forked_from_the_template_is_known_by_its_name(monkeypatch):
    monkeypatch.setattr(proctable, "environment", lambda _: {"MINDBOT_RUNTIME_DIR": "/run/x"})
    assert sort(family(), proc(300, ME, name="mb 1.1 job")) == {B: [300]}
    assert sort(family(), proc(50, ME), proc(300, 50, name="mb 1.1 job")) == {B: [300]}
    assert sort(family(), proc(301, ME, name="mb 7.1 job"), proc(302, ME, name="mb")) == {}


def test_a_job_process_that_is_told_of_before_it_has_its_name_is_known_once_it_has(monkeypatch):
    asked = []
    monkeypatch.setattr(proctable, "environment", lambda pid: asked.append(pid) or {"MINDBOT_RUNTIME_DIR": "/run/x"})
    kin = family()
    kin.told[A] = (300,)
    for _ in range(2):
        assert sort(kin, proc(50, ME), proc(300, 50, name="mindbot-jobs")) == {}
    assert asked.count(300) == 1
    assert sort(kin, proc(50, ME), proc(300, 50, name="mb 0.1 job")) == {A: [300]}


def test_a_worker_that_names_a_strangers_pid_does_not_get_it():
    kin = family()
    kin.told[A] = (1, ME, os.getppid())
    assert sort(kin, proc(os.getppid(), 1)) == {}


def test_the_supervisor_itself_and_its_parents_belong_to_nobody():
    assert sort(family()) == {}


def test_zombies_are_no_members_but_orphaned_ones_are_found():
    table = {each.pid: each for each in (proc(100, ME, state="Z"), proc(300, ME, state="Z"), proc(5, 1, state="Z"))}
    assert family().sort(table) == {}
    assert orphan_zombies(table, {100}) == [300]


def test_the_process_table_tells_of_this_very_process():
    here = proctable.read_all()[ME]
    assert (here.ppid, here.session) == (os.getppid(), os.getsid(0))
    assert here.rss_bytes > 1024 * 1024
    assert proctable.read_one(ME).key == here.key
    assert proctable.read_one(2**22 + 1) is None
