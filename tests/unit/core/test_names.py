"""Names that workers invent: bounded for each slot, with OTHER as the rest, and no sibling loses one by it."""

from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.core.workers.names import KINDS, PROVIDERS_OF_ALL, Names
from mindbot_worker.protocol.heartbeat import KINDS_MAX, OTHER, PROVIDERS_MAX

from .build import beat

A, B = Ref(0, 1), Ref(1, 1)


def errors(names: Names, ref: Ref, **counts: int) -> dict[str, int]:
    return dict(names.fit(ref, beat(1, errors_by=counts)).errors_by)


def test_a_worker_that_invents_a_kind_in_every_beat_has_so_many_and_the_rest_is_other():
    names, seen = Names(), set()
    for number in range(10_000):
        seen |= errors(names, A, **{f"kind{number}": 1}).keys()
    assert len(seen) == KINDS_MAX + 1
    assert errors(names, A, kind0=2, kind500=3, kind501=4) == {"kind0": 2, OTHER: 7}


def test_the_names_of_one_slot_cost_its_siblings_none():
    names = Names()
    for number in range(100):
        errors(names, A, **{f"kind{number}": 1})
    assert errors(names, B, mine=1, kind99=1) == {"mine": 1, "kind99": 1}


def test_what_our_own_workers_tell_is_always_a_name():
    names = Names()
    for number in range(100):
        errors(names, A, **{f"kind{number}": 1})
    ours = dict.fromkeys(KINDS, 1)
    assert errors(names, A, **ours) == ours


def test_the_next_worker_of_a_slot_brings_no_new_room_for_names():
    names = Names()
    for generation in range(1, 50):
        errors(names, Ref(0, generation), **{f"g{generation}k{number}": 1 for number in range(KINDS_MAX)})
    assert errors(names, Ref(0, 50), g1k0=1, g49k0=1) == {"g1k0": 1, OTHER: 1}


def test_providers_are_bounded_for_each_slot_and_for_all_of_them():
    names, seen = Names(), set()
    for slot in range(20):
        for number in range(PROVIDERS_MAX * 2):
            used = {f"s{slot}p{number}": {"requests": 1.0}, "openai": {"requests": 2.0}}
            told = names.fit(Ref(slot, 1), beat(1, usage=used)).usage
            assert told["openai"] == {"requests": 2.0}
            seen |= told.keys()
    assert len(seen) == PROVIDERS_OF_ALL + 2


def test_use_of_providers_without_a_name_is_summed_up():
    names = Names()
    for number in range(PROVIDERS_MAX):
        names.fit(A, beat(1, usage={f"p{number}": {"requests": 1.0}}))
    used = {"x": {"requests": 1.0, "waits": 2.0}, "y": {"requests": 3.0}}
    assert names.fit(A, beat(1, usage=used)).usage == {OTHER: {"requests": 4.0, "waits": 2.0}}


def test_an_ordinary_beat_is_passed_on_as_it_is():
    names, ordinary = Names(), beat(1, errors_by={"llm": 1}, usage={"openai": {"requests": 1.0}})
    assert names.fit(A, ordinary) is ordinary


def test_a_slot_that_is_gone_is_forgotten():
    names = Names()
    errors(names, A, mine=1)
    names.forget(0)
    assert 0 not in names._kinds
