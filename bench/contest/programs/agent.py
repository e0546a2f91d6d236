"""An agent as LiveKit's documentation has it, with the three plugins: what every contestant runs."""

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobProcess, cli
from livekit.plugins import deepgram, openai, silero


def prewarm(process: JobProcess) -> None:
    process.userdata["vad"] = silero.VAD.load()


server = AgentServer(setup_fnc=prewarm, port=0)  # with the default port, only one of them could run on a host


@server.rtc_session()
async def converse(context: JobContext) -> None:
    session = AgentSession(stt=deepgram.STT(), llm=openai.LLM(), tts=openai.TTS(), vad=context.proc.userdata["vad"])
    await session.start(Agent(instructions="Answer in one short sentence."), room=context.room)


if __name__ == "__main__":
    cli.run_app(server)
