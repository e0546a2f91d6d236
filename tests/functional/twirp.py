"""A stand-in for LiveKit's server API: rooms, participants and dispatches in memory, and faults to order."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from google.protobuf.json_format import MessageToDict, ParseDict
from livekit import api

from mindbot_worker.protocol import heartbeat

KEY, SECRET = "devkey", "a-secret-for-tests-0123456789abcdef"
Json = dict[str, Any]


@dataclass
class Twirp:
    """What is in it is set and read by the tests; `asked` are the methods in the order in which they came in."""

    url: str = ""
    rooms: dict[str, list[Json]] = field(default_factory=dict)
    dispatches: dict[str, list[Json]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    joins_after: float | None = 0.05
    """Seconds until the agent of a new dispatch is in the room; None: no worker takes it."""
    starts_after: float = 0.02
    """Seconds from then until it is ACTIVE."""
    waits: bool = True
    """Whether a new agent waits where it is told to, as one of ours does."""
    identity: str = ""
    """Of every new agent, where it is not made from its job."""
    free_from: int = 0
    """So many dispatches find no worker free before one does."""
    status: int = 200
    delay: float = 0.0
    fails: dict[str, int] = field(default_factory=dict)
    """How often each method does its work and then answers 503 instead of saying so."""
    _ids: itertools.count[int] = field(default_factory=itertools.count)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def call(self, room: str, job: str, *, identity: str = "", metadata: str = "", **dispatch: Any) -> None:
        """A room with a caller, and with an agent that was dispatched there."""
        identity = identity or f"agent-{job}"
        self.rooms[room] = [person("caller"), person(identity, "AGENT")]
        made = {"id": f"AD_{job}", "agent_name": "", "metadata": metadata, "attributes": {}, **dispatch}
        self.dispatches[room] = [made | {"state": {"jobs": [job_of(job, identity)]}}]

    def hang_up(self, room: str) -> None:
        self.rooms[room] = [each for each in self.rooms[room] if each["kind"] == "AGENT"]

    def leave(self, room: str, identity: str) -> None:
        self.rooms[room] = [each for each in self.rooms[room] if each["identity"] != identity]

    def agents(self, room: str) -> list[str]:
        return [each["identity"] for each in self.rooms.get(room, []) if each["kind"] == "AGENT"]

    async def serve(self, request: web.Request) -> web.Response:
        service, method = request.match_info["service"], request.match_info["method"]
        body = read(method, await request.read())
        self.asked.append(method)
        await asyncio.sleep(self.delay)
        if self.status != 200:
            return web.Response(status=self.status, text=f"invalid token: {request.headers['Authorization']}")
        if not allowed(request.headers["Authorization"], method, body.get("room", "")):
            return web.Response(status=401, text="no")
        answer = getattr(self, f"_{method}")(body)
        if self.fails.get(method, 0):
            self.fails[method] -= 1
            return web.json_response({"code": "unavailable", "msg": "x"}, status=503)
        if answer is None:
            return web.json_response({"code": "not_found", "msg": f"{service} has no such thing"}, status=404)
        return web.Response(body=written(method, answer), content_type="application/protobuf")

    def _ListRooms(self, body: Json) -> Json:
        return {"rooms": [{"name": name} for name in body["names"] if name in self.rooms]}

    def _ListParticipants(self, body: Json) -> Json:
        return {"participants": self.rooms.get(body["room"], [])}

    def _RemoveParticipant(self, body: Json) -> Json | None:
        people = self.rooms.get(body["room"], [])
        left = [each for each in people if each["identity"] != body["identity"]]
        self.rooms[body["room"]] = left
        return {} if len(left) < len(people) else None

    def _ListDispatch(self, body: Json) -> Json:
        return {"agent_dispatches": self.dispatches.get(body["room"], [])}

    def _DeleteDispatch(self, body: Json) -> Json | None:
        listed = self.dispatches.get(body["room"], [])
        self.dispatches[body["room"]] = [each for each in listed if each["id"] != body["dispatch_id"]]
        return {} if len(self.dispatches[body["room"]]) < len(listed) else None

    def _CreateDispatch(self, body: Json) -> Json:
        made = {**body, "id": f"AD_{next(self._ids)}", "state": {"jobs": []}}
        self.dispatches.setdefault(body["room"], []).append(made)
        taken = self.free_from <= 0
        self.free_from -= 1
        if taken and self.joins_after is not None:
            task = asyncio.get_running_loop().create_task(self._join(body["room"], made))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return made

    async def _join(self, room: str, made: Json) -> None:
        job = f"AJ_new{next(self._ids)}"
        agent = person(self.identity or f"agent-{job}", "AGENT", "JOINING")
        made["state"]["jobs"].append(job_of(job, agent["identity"]))
        await asyncio.sleep(self.joins_after or 0)
        before = made.get("attributes", {}).get(heartbeat.AFTER) if self.waits else None
        while any(each["identity"] == before for each in self.rooms[room]):
            await asyncio.sleep(0.005)
            if made not in self.dispatches[room]:
                return  # called off
        self.rooms[room].append(agent)
        await asyncio.sleep(self.starts_after)
        agent["state"] = "ACTIVE"


_sids = itertools.count()


def person(identity: str, kind: str = "STANDARD", state: str = "ACTIVE") -> Json:
    return {"sid": f"PA_{next(_sids)}", "identity": identity, "kind": kind, "state": state}


def job_of(job: str, identity: str, kind: str = "JT_ROOM") -> Json:
    return {"id": job, "type": kind, "state": {"participant_identity": identity}}


ANSWERS: dict[str, tuple[type, type]] = {
    "ListRooms": (api.ListRoomsRequest, api.ListRoomsResponse),
    "ListParticipants": (api.ListParticipantsRequest, api.ListParticipantsResponse),
    "RemoveParticipant": (api.RoomParticipantIdentity, api.RemoveParticipantResponse),
    "ListDispatch": (api.ListAgentDispatchRequest, api.ListAgentDispatchResponse),
    "DeleteDispatch": (api.DeleteAgentDispatchRequest, api.AgentDispatch),
    "CreateDispatch": (api.CreateAgentDispatchRequest, api.AgentDispatch),
}
"""The messages of each method, as protobuf."""


def read(method: str, data: bytes) -> Json:
    asked = ANSWERS[method][0]()
    asked.ParseFromString(data)
    found: Json = MessageToDict(asked, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return found


def written(method: str, answer: Json) -> bytes:
    told: bytes = ParseDict(answer, ANSWERS[method][1](), ignore_unknown_fields=True).SerializeToString()
    return told


def allowed(header: str, method: str, room: str) -> bool:
    """As livekit-server: the signature, and the grant for this room, or for the list of them."""
    head, _, signature = header.removeprefix("Bearer ").rpartition(".")
    right = hmac.digest(SECRET.encode(), head.encode(), hashlib.sha256)
    claims = json.loads(unpad(head.split(".")[1]))
    grants = claims["video"]
    wanted = {"roomList": True} if method == "ListRooms" else {"roomAdmin": True, "room": room}
    return unpad(signature) == right and claims["iss"] == KEY and wanted.items() <= grants.items()


def unpad(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@asynccontextmanager
async def serving() -> AsyncIterator[Twirp]:
    """One on a free loopback port."""
    twirp = Twirp()
    app = web.Application()
    app.router.add_post("/twirp/livekit.{service}/{method}", twirp.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    twirp.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield twirp
    finally:
        await runner.cleanup()
