"""What MindBot is measured against: an AgentSession with the same providers and nothing else, run by LiveKit itself.

python bench/bare_agent.py start
"""

from __future__ import annotations

import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobProcess, cli
from livekit.plugins import deepgram, openai, silero

OPENAI_URL, DEEPGRAM_URL = os.environ["BENCH_OPENAI_URL"], os.environ["BENCH_DEEPGRAM_URL"]


def prewarm(process: JobProcess) -> None:
    process.userdata["vad"] = silero.VAD.load()


def no_load(_: AgentServer) -> float:
    """LiveKit's own would refuse calls while the machine is busy, with the other agent's start for one."""
    return 0.0


server = AgentServer(setup_fnc=prewarm, load_fnc=no_load, port=0, num_idle_processes=1)


@server.rtc_session(agent_name="bare")
async def entrypoint(context: JobContext) -> None:
    session = AgentSession[None](
        vad=context.proc.userdata["vad"],
        stt=deepgram.STT(model="nova-3", smart_format=True, punctuate=True, base_url=DEEPGRAM_URL),
        llm=openai.LLM(model="gpt-4.1", base_url=OPENAI_URL),
        tts=openai.TTS(model="gpt-4o-mini-tts", voice="fable", base_url=OPENAI_URL),
        turn_handling={"turn_detection": "vad"},
    )
    await session.start(Agent(instructions=os.environ["BENCH_INSTRUCTIONS"]), room=context.room)
    session.say(os.environ["BENCH_GREETING"])


if __name__ == "__main__":
    cli.run_app(server)
