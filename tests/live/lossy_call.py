"""A call whose caller loses a fifth of what it sends; run in a network namespace of its own, where it harms nobody.

`unshare --user --map-root-user --net python lossy_call.py FOLDER`: one JSON object on stdout with what the log said.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # in this folder, livekit.py would be taken for the package

from live.caller import calling  # noqa: E402
from live.livekit import Local, find_livekit_server, running_local  # noqa: E402
from live.supervised import ready, supervised, wait  # noqa: E402
from live.test_hearing import SPEECH  # noqa: E402

LOSS = 0.2
_RANDOM = 2**32 - 0x1000 + 56
"""Where BPF finds a random number (SKF_AD_OFF + SKF_AD_RANDOM)."""


def main() -> None:
    for command in (
        "link set lo up",
        "link add outside type veth peer name beyond",  # WebRTC wants an interface besides loopback
        "addr add 10.99.0.1/24 dev outside",
        "link set outside up",
        "link set beyond up",
        "route add default dev outside",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    with running_local(livekit_server=find_livekit_server()) as stack:
        told = asyncio.run(call(Path(sys.argv[1]), stack))
    print(json.dumps(told))


async def call(folder: Path, stack: Local) -> dict[str, object]:
    with supervised(folder, stack, "--log-level", "debug", workers=1) as daemon:
        await ready(daemon, 1)
        async with calling(stack.server, "lossy") as caller:
            await caller.hear(60)
            lose(server_port())
            for _ in range(4):
                await caller.play(SPEECH)
        whole = await wait(daemon, "audio.quality", room="lossy", whole_call=True)
        ended = await wait(daemon, "call.ended", room="lossy")
        windows = [each for each in daemon.events("audio.quality", room="lossy") if "whole_call" not in each]
        return {"whole": whole, "windows": windows, "summary": ended["summary"]}


def server_port() -> int:
    """The only UDP port of this network that is bound to loopback is the server's."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    (port,) = {
        int(row[1].partition(":")[2], 16) for row in rows if row[1].startswith("0100007F") and row[2][-4:] == "0000"
    }
    return port


def lose(port: int) -> None:
    """The kernel drops this share of all UDP packets to the port: a classic BPF filter, which needs no module (netem is
    one). An Ethernet frame has its protocol at 23 and the port at 36; 2 drops it, 0 lets it pass.
    """
    program = [
        "48 0 0 23",
        "21 0 5 17",
        "40 0 0 36",
        f"21 0 3 {port}",
        f"32 0 0 {_RANDOM}",
        f"53 1 0 {int(2**32 * LOSS)}",
        "6 0 0 2",
        "6 0 0 0",
    ]
    bytecode = ",".join([str(len(program)), *program])
    subprocess.run(["tc", "qdisc", "add", "dev", "lo", "clsact"], check=True)
    subprocess.run(["tc", "filter", "add", "dev", "lo", "egress", "bpf", "da", "bytecode", bytecode], check=True)


if __name__ == "__main__":
    main()
