"""What is named as the cause of frequent disconnects, for what was measured."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace as Some

import pytest

from mindbot_worker.jobs.disconnects import (
    HOST_LOAD,
    HOST_WAITS,
    LAG,
    LOSS,
    UNKNOWN,
    Measurements,
    host_waits,
    losses,
    probable_causes,
)


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (Measurements(loop_lag=2.34), "stood still for 2.3 s"),
        (Measurements(host_waits=61.0), "waited for one 61 % of the last minute"),
        (Measurements(host_load=3.0), "a load of 3.0 for each"),
        (Measurements(packet_loss=0.2), "loses packets: 20%"),
        (Measurements(poor_quality=2), "rated a connection of this call so 2 times"),
        (Measurements(poor_quality=1), "so once"),
        (Measurements(rate_limited=7), "7 requests of this call were refused (429)"),
    ],
)
def test_what_stands_out_is_named_with_its_figure(measured: Measurements, said: str) -> None:
    (cause,) = probable_causes(measured)
    assert said in cause


@pytest.mark.parametrize(
    "measured",
    [
        Measurements(),
        Measurements(LAG - 0.01, HOST_WAITS - 1, HOST_LOAD - 0.1, LOSS - 0.001),
    ],
    ids=["nothing measured", "all below their thresholds"],
)
def test_where_nothing_stands_out_that_is_said(measured: Measurements) -> None:
    assert probable_causes(measured) == [UNKNOWN]


def test_several_causes_are_all_named() -> None:
    assert len(probable_causes(Measurements(2.0, 80.0, 4.0, 0.3, 5, 1))) == 4


def test_the_host_s_pressure_is_that_of_the_last_minute(tmp_path: Path) -> None:
    file = tmp_path / "cpu"
    some, full = "some avg10=99.00 avg60=12.34 avg300=1.00 total=5", "full avg10=0.00 avg60=0.00 avg300=0.00 total=0"
    file.write_text(f"{some}\n{full}\n")
    assert host_waits(file) == 12.34
    assert host_waits(tmp_path / "none") is None


def test_lost_packets_are_shared_out_by_track() -> None:
    def inbound(received: int, lost: int) -> Some:
        counts = Some(packets_received=received, packets_lost=lost)
        return Some(WhichOneof=lambda _: "inbound_rtp", inbound_rtp=Some(received=counts))

    outbound = Some(
        WhichOneof=lambda _: "remote_inbound_rtp",
        remote_inbound_rtp=Some(remote_inbound=Some(fraction_lost=0.5)),
    )
    other = Some(WhichOneof=lambda _: "codec")
    assert list(losses([inbound(80, 20), inbound(0, 0), inbound(10, -1), outbound, other])) == [0.2, 0.0, 0.5]
