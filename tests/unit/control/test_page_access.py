"""What a Host header names, and what other hosts may not read."""

from __future__ import annotations

import json

import pytest

from mindbot_supervisor.control.page_access import HIDDEN, PageAccess, host_of, without_identities


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost", "localhost"),
        ("Localhost.:8090", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:80", "::1"),
        ("[::1", "::1"),
        ("a.example:80:90", "a.example"),
        ("", ""),
    ],
)
def test_the_host_is_read_without_its_port(header, host):
    assert host_of(header) == host


def test_a_room_is_hidden_wherever_it_stands_and_figures_stay():
    answer = {
        "workers": [
            {
                "worker": "0.1",
                "phase": "ready",
                "calls": [{"room": "ready", "identity": "anna", "job": "AJ_x", "caller": None, "state": "speaking"}],
                "problem": "anna cannot be heard; call sip:anna@example.org or +49 (170) 123-45 67 or 01701234567",
                "pid": 12345678,
            }
        ],
        "rooms": ["anna", "b"],
        "since": "2026-11-22T15:44:22.660Z",
        "version": "0.1.0",
    }
    shown = without_identities(answer)
    (row,) = shown["workers"]
    assert row["calls"] == [
        {"room": HIDDEN, "identity": HIDDEN, "job": HIDDEN, "caller": None, "state": "speaking"},
    ]
    assert row["problem"] == "hidden cannot be heard; call hidden or hidden or hidden"
    assert (row["worker"], row["phase"], row["pid"]) == ("0.1", "ready", 12345678)
    assert (shown["rooms"], shown["since"], shown["version"]) == (HIDDEN, "2026-11-22T15:44:22.660Z", "0.1.0")
    assert "anna" in json.dumps(answer), "the answer itself is left alone"


def test_a_server_of_this_host_shows_all():
    answer = {"room": "r"}
    assert PageAccess(local=True).shown(answer) == PageAccess(local=False, identities=True).shown(answer) == answer
    assert PageAccess(local=False).shown(answer) == {"room": HIDDEN}
