"""How soon MindBot answers, beside a bare AgentSession: `python bench/answer_time.py [ROUNDS]`.

The same livekit-server, the same stand-ins, the same models and voice activity detector, at the same time: MindBot in a
worker of the daemon, and `bare_agent.py` run by LiveKit's own command line. In each round the caller calls both, one
after the other, in turns first; is greeted, and asks two questions. Measured is the time from the end of the caller's
last word to the first sound of the answer. Prints a Markdown table.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

BENCH = Path(__file__).parent
ROOT = BENCH.parent
sys.path[:0] = [str(ROOT / name) for name in ("supervisor", "worker", "config", "tests")]

from live.caller import Caller, calling, load_phrases  # noqa: E402
from live.livekit import Local, livekit_server_or_exit, running_local  # noqa: E402
from live.supervised import ready, supervised  # noqa: E402
from mindbot_config.sections.voice import Voice  # noqa: E402

ROUNDS, QUESTIONS = 6, 2
AGENTS = ("bare", "mindbot")
WITHIN = 60.0


async def measure(stack: Local, rounds: int) -> dict[str, list[float]]:
    """Seconds from question to answer, by agent."""
    questions = list(load_phrases())
    found: dict[str, list[float]] = {agent: [] for agent in AGENTS}
    for number in range(rounds + 1):
        for agent in AGENTS if number % 2 else reversed(AGENTS):
            async with calling(stack.server, f"{agent}-{number}", agent_name=agent) as caller:
                await caller.hear(WITHIN, since=0)
                asked = [questions[(number + each) % len(questions)] for each in range(QUESTIONS)]
                times = [await answered(caller, question) for question in asked]
            if number:  # the first round warms both up
                found[agent] += times
    return found


async def answered(caller: Caller, question: str) -> float:
    await caller.silence(1.5, within=WITHIN)
    ended = await caller.say(question)
    return (await caller.hear(WITHIN, since=ended)).started_at - ended


@contextlib.contextmanager
def bare_agent(stack: Local, folder: Path) -> Iterator[Path]:
    """LiveKit's command line with `bare_agent.py`, on the server and the stand-ins of `stack`; its log."""
    log = folder / "bare.log"
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("MINDBOT_", "LIVEKIT_"))},
        **stack.server.environment,
        "OPENAI_API_KEY": "local",
        "DEEPGRAM_API_KEY": "local",
        "BENCH_OPENAI_URL": stack.openai_base_url,
        "BENCH_DEEPGRAM_URL": stack.deepgram_base_url,
        "BENCH_INSTRUCTIONS": Voice().instructions,
        "BENCH_GREETING": Voice().greeting,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(BENCH / "bare_agent.py"), "start"],
            env=environ,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def run(stack: Local, folder: Path, rounds: int) -> dict[str, list[float]]:
    # with two workers each has one warm job process on two cores, as the bare agent has
    with bare_agent(stack, folder) as log, supervised(folder, stack, workers=2, POOL__AGENT_NAME="mindbot") as daemon:
        await ready(daemon, 2)
        await asyncio.to_thread(daemon.until, lambda: "registered worker" in log.read_text())
        found = await measure(stack, rounds)
        await asyncio.to_thread(daemon.terminate, 60)
    return found


def table(found: dict[str, list[float]]) -> str:
    lines = ["| agent | answers | median, ms | quarter below | quarter above | longest |", "|---|---|---|---|---|---|"]
    for agent, times in found.items():
        low, _, high = quantiles(times, n=4)
        numbers = (median(times), low, high, max(times))
        lines.append(f"| {agent} | {len(times)} | " + " | ".join(f"{each * 1000:.0f}" for each in numbers) + " |")
    bare, ours = (median(found[agent]) for agent in AGENTS)
    return "\n".join([*lines, "", f"MindBot against the bare agent: {(ours / bare - 1) * 100:+.1f} %"])


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    path = livekit_server_or_exit()
    with running_local(livekit_server=path) as stack, tempfile.TemporaryDirectory() as folder:
        print(table(asyncio.run(run(stack, Path(folder), rounds))), flush=True)


if __name__ == "__main__":
    main()
