"""From which worker an orphan comes: with real processes and real pipes."""

import os
import subprocess
from types import SimpleNamespace

from mindbot_config.host import cgroups
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.monitoring import orphan_origin
from mindbot_supervisor.monitoring.process_tree import Root

A, B = Ref(0, 1), Ref(1, 1)


def inode(fd: int) -> int:
    return os.fstat(fd).st_ino


def test_who_holds_a_workers_pipe_comes_from_it_and_who_holds_two_or_none_from_nobody(monkeypatch):
    first, second = os.pipe(), os.pipe()
    roots = [Root(1, A, frozenset({inode(first[0])})), Root(2, B, frozenset({inode(second[0])}))]
    held = {"one": (first[1],), "both": (first[1], second[1]), "none": ()}
    children = {name: subprocess.Popen(["sleep", "60"], pass_fds=fds) for name, fds in held.items()}
    try:
        found = {name: orphan_origin.find(SimpleNamespace(pid=child.pid), roots) for name, child in children.items()}
        assert found == {"one": A, "both": None, "none": None}
    finally:
        for child in children.values():
            child.kill()
            child.wait()
        for fd in (*first, *second):
            os.close(fd)
    assert orphan_origin.pipes_of(children["one"].pid) == frozenset(), "it is gone"


def test_who_is_in_a_workers_own_cgroup_comes_from_it(monkeypatch):
    groups = {"self": "0::/pool", "1": "0::/pool/a", "2": "0::/pool", "9": "0::/pool/a", "8": "0::/pool", "7": "0::/x"}
    monkeypatch.setattr(cgroups.Mounts, "lines", lambda _, pid="self": groups[str(pid)])
    monkeypatch.setattr(orphan_origin, "pipes_of", lambda _: frozenset())
    roots = [Root(1, A), Root(2, B)]
    found = [orphan_origin.find(SimpleNamespace(pid=pid), roots) for pid in (9, 8, 7)]
    assert found == [A, None, None], "the daemon's own group says nothing"
