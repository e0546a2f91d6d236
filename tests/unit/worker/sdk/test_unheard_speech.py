"""Speech without a transcript: when a session is deaf, and what is done about it."""

from __future__ import annotations

import pytest

from mindbot_worker.sdk.unheard_speech import SETTLES, Remedy, UnheardSpeech

AFTER = 10.0


def speaks(deafness: UnheardSpeech, begin: float, seconds: float) -> float:
    """The caller says something; returns when a transcript of it should have come."""
    deafness.caller(True, begin)
    deafness.caller(False, begin + seconds)
    return begin + seconds + SETTLES


def test_a_caller_who_is_understood_is_never_found_unheard() -> None:
    deafness = UnheardSpeech(AFTER, interims=True)
    for second in range(0, 300, 8):
        now = speaks(deafness, second, 5)
        assert deafness.transcribed(now) is False
        assert deafness.remedy(now) is None


def test_a_deaf_session_is_restarted_once_then_an_error_for_as_long_as_it_lasts() -> None:
    deafness, found = UnheardSpeech(AFTER, interims=True), []
    for second in range(0, 120, 5):
        now = speaks(deafness, second, 3)
        found.append(deafness.remedy(now))
    assert [each for each in found if each] == [Remedy.RESTART] + 5 * [Remedy.ERROR]
    assert found.index(Remedy.RESTART) == 3, "three times three seconds are less than ten"


def test_a_session_that_was_cured_may_become_deaf_again() -> None:
    deafness = UnheardSpeech(AFTER, interims=True)
    assert deafness.remedy(speaks(deafness, 0, 12)) is Remedy.RESTART
    assert deafness.transcribed(20) is True
    assert deafness.transcribed(21) is False
    assert deafness.remedy(speaks(deafness, 30, 12)) is Remedy.RESTART


@pytest.mark.parametrize(("interims", "found"), [(True, Remedy.RESTART), (False, None)])
def test_who_gives_no_interim_results_gets_time_until_the_caller_has_paused(
    interims: bool, found: Remedy | None
) -> None:
    deafness = UnheardSpeech(AFTER, interims=interims)
    deafness.caller(True, 0)
    assert deafness.remedy(AFTER) is found


def test_after_the_pause_there_is_no_more_time() -> None:
    deafness = UnheardSpeech(AFTER, interims=False)
    deafness.caller(True, 0)
    deafness.caller(False, 15)
    assert deafness.remedy(15 + SETTLES / 2) is None
    assert deafness.untranscribed(16) == 15
    assert deafness.remedy(15 + SETTLES) is Remedy.RESTART


def test_what_is_said_while_the_agent_speaks_does_not_count() -> None:
    deafness = UnheardSpeech(AFTER, interims=True)
    deafness.caller(True, 0)
    deafness.agent(True, 2)
    deafness.agent(False, 60)
    deafness.caller(False, 65)
    assert deafness.untranscribed(100) == 7
    assert deafness.remedy(100) is None


def test_silence_is_no_deafness() -> None:
    deafness = UnheardSpeech(AFTER, interims=True)
    deafness.caller(False, 0)
    assert all(deafness.remedy(second) is None for second in range(600))
