"""The part of a LiveKit server that workers talk to: the `/agent` websocket, with bad habits on request."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from aiohttp import WSMsgType, web
from livekit.protocol import agent, models

ACCEPT, REFUSE, CLOSE = "accept", "refuse", "close"


class FakeLiveKit:
    """Runs on a loop of its own, in a thread. `habit` may be changed at any time."""

    def __init__(self, habit: str = ACCEPT) -> None:
        self.habit = habit
        self.attempts: list[float] = []
        self.statuses: list[tuple[int, float, int]] = []
        """(status, load, job_count) as reported by workers."""
        self.answers: dict[str, agent.AvailabilityResponse] = {}
        self._sockets: list[web.WebSocketResponse] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = self._do(self._serve())
        self.url = f"ws://127.0.0.1:{self.port}"

    def _do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _serve(self) -> int:
        app = web.Application()
        app.add_routes([web.get("/agent", self._agent)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _agent(self, request: web.Request) -> web.StreamResponse:
        self.attempts.append(time.monotonic())
        if self.habit == REFUSE:
            return web.Response(status=401, text="invalid token")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if self.habit == CLOSE:
            await socket.close()
            return socket
        self._sockets.append(socket)
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                await self._on_message(socket, agent.WorkerMessage.FromString(message.data))
        return socket

    async def _on_message(self, socket: web.WebSocketResponse, message: agent.WorkerMessage) -> None:
        which = message.WhichOneof("message")
        if which == "register":
            answer = agent.RegisterWorkerResponse(worker_id=f"AW_{len(self.attempts)}")
            await socket.send_bytes(agent.ServerMessage(register=answer).SerializeToString())
        elif which == "update_worker":
            update = message.update_worker
            self.statuses.append((update.status, update.load, update.job_count))
        elif which == "availability":
            self.answers[message.availability.job_id] = message.availability
            if message.availability.available:
                job = agent.Job(id=message.availability.job_id, room=models.Room(name=message.availability.job_id))
                assignment = agent.JobAssignment(job=job, token="none")
                await socket.send_bytes(agent.ServerMessage(assignment=assignment).SerializeToString())

    def offer(self, *jobs: str) -> None:
        """Ask the worker that connected last whether it takes these jobs, all at once."""

        async def send() -> None:
            for name in jobs:
                job = agent.Job(id=name, room=models.Room(name=name), type=agent.JobType.JT_ROOM)
                request = agent.ServerMessage(availability=agent.AvailabilityRequest(job=job))
                await self._sockets[-1].send_bytes(request.SerializeToString())

        self._do(send())

    def drop(self) -> None:
        """Close every websocket from our side."""

        async def close() -> None:
            for socket in self._sockets:
                await socket.close()
            self._sockets.clear()

        self._do(close())

    def end(self) -> None:
        if not self._thread.is_alive():
            return
        self._do(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
