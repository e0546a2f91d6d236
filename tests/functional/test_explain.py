"""`explain`: why a worker is as it is, of the living from memory, of the ended from memory and from disk."""

import json
import os
import signal
import stat

import pytest

from functional.daemon import Daemon, stub
from functional.test_habits import FAST


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A daemon in which slot 0's first worker hung, slot 1 is parked and slot 2 is well."""
    folder = tmp_path_factory.mktemp("explain")
    secret = {"OPENAI_API_KEY": "sk-a-very-secret-openai-key"}
    words = stub("call@2", "print_secret@0.1", "hang@0.1", "dies_at_boot@1")
    with Daemon(folder, "--workers", "3", *words, environ={**FAST, **secret}) as daemon:
        daemon.wait("worker.exited", worker="0.1")
        daemon.wait("worker.ready", worker="0.2")
        daemon.wait("slot.parked", slot=1)
        yield daemon


def explained(daemon: Daemon, worker: str) -> dict:
    done = daemon.client("explain", worker, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_living_worker_is_explained_by_its_rules_and_its_next_deadline(run):
    answer = explained(run, "2.1")
    assert (answer["alive"], answer["phase"], answer["found"], answer["leaving"]) == (True, "ready", None, None)
    hung = next(rule for rule in answer["rules"] if rule["reason"] == "hung")
    assert hung["limit"] == 2.0
    assert hung["value"] < 2.0
    assert "worker.ready" in [change["event"] for change in answer["changes"]]
    text = run.client("explain", "2.1").stdout
    assert text.startswith("worker 2.1: ready")
    assert "found: nothing against it" in text


def test_a_slot_is_its_living_worker_and_tells_of_the_one_before(run):
    answer = explained(run, "0")
    assert answer["worker"] == "0.2"
    assert (answer["last_exit"]["worker"], answer["last_exit"]["verdict"]) == ("0.1", "killed")
    assert "failures of its slot are forgiven" in answer["next"][0]["what"]


def test_an_ended_worker_is_explained_by_its_evidence_its_last_beats_and_its_stack(run):
    answer = explained(run, "0.1")
    assert (answer["alive"], answer["verdict"], answer["reason"]) == (False, "killed", "hung")
    assert answer["evidence"]["limit"] == 2.0
    assert "in hang" in answer["stack"]
    assert answer["beats"][-1]["at"] < -2
    assert answer["successor"] == "0.2"
    text = run.client("explain", "0.1").stdout
    assert "killed (SIGKILL), reason hung" in text
    assert "in hang" in text


def test_a_parked_slot_tells_when_it_is_tried_again_and_what_its_last_worker_said(run):
    answer = explained(run, "1")
    assert answer["verdict"] == "crashed"
    (coming,) = answer["next"]
    assert "parked slot is tried again" in coming["what"]
    assert 0 < coming["in"] <= 75
    assert any("no module named x" in line for line in answer["log"])


@pytest.mark.parametrize("name", ["7", "0.99", "x", "all", "0.1?worker=2", ""])
def test_an_unknown_worker_is_refused_in_one_line_with_the_names_that_exist(run, name):
    done = run.client("explain", name)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "2.1" in done.stderr


def test_a_daemon_that_is_gone_is_explained_from_its_journal(tmp_path, monkeypatch):
    with Daemon(tmp_path, "--workers", "1", *stub("crash@0.1"), environ=FAST) as daemon:
        daemon.wait("worker.ready", worker="0.2")
        daemon.terminate()
    monkeypatch.setenv("MINDBOT_STATE_DIR", str(daemon.state_dir))
    for name in ("0.1", "0"):
        done = daemon.client("explain", name, "--json")
        assert done.returncode == 0
        assert "journal" in done.stderr
        answer = json.loads(done.stdout)
        assert (answer["worker"], answer["verdict"], answer["source"]) == ("0.1", "crashed", "journal")
    done = daemon.client("explain", "9")
    assert (done.returncode, len(done.stderr.splitlines())) == (69, 1)


def test_the_journal_is_private_holds_no_secret_and_leaves_wished_ends_out(tmp_path):
    secret = {"OPENAI_API_KEY": "sk-a-very-secret-openai-key"}
    words = stub("print_secret@0.1", "crash@0.1")
    with Daemon(tmp_path, "--workers", "1", *words, environ={**FAST, **secret}) as daemon:
        daemon.wait("worker.ready", worker="0.2")
        daemon.terminate()
    folder = daemon.state_dir / "flight"
    text = (folder / "flight.jsonl").read_text()
    assert [json.loads(line)["worker"] for line in text.splitlines()] == ["0.1"]
    assert "very-secret" not in text
    assert "***" in text
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "flight.jsonl")] == [0o700, 0o600]


def test_a_journal_that_cannot_be_written_is_said_once_and_harms_nobody(tmp_path):
    (tmp_path / "file").write_text("")
    bad = {"MINDBOT_STATE_DIR": str(tmp_path / "file" / "state")}
    with Daemon(tmp_path, "--workers", "2", *stub("crash@0"), environ={**FAST, **bad}) as daemon:
        daemon.wait("slot.parked", slot=0)
        assert len(daemon.events("journal.failed")) == 1
        assert daemon.worker("1.1")["phase"] == "ready"
        assert explained(daemon, "0")["verdict"] == "crashed"
        assert daemon.terminate() == 0


def test_a_kill_from_outside_is_not_taken_for_the_kernels(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub(), environ=FAST) as daemon:
        daemon.ready(1)
        os.kill(daemon.worker("0.1")["pid"], signal.SIGKILL)
        assert daemon.wait("worker.exited", worker="0.1")["verdict"] == "signal"
        assert daemon.terminate() == 0


def test_what_was_remembered_outlives_an_upgrade(tmp_path):
    with Daemon(tmp_path, "--workers", "1", *stub("crash@0.1"), environ=FAST) as daemon:
        daemon.wait("worker.ready", worker="0.2")
        assert daemon.client("upgrade").returncode == 0
        daemon.wait("supervisor.upgraded")
        assert explained(daemon, "0.1")["verdict"] == "crashed"
        assert explained(daemon, "0.2")["alive"]
        assert daemon.terminate() == 0
