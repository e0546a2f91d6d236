"""LiveKit's server API, as much of it as recovery needs: JSON over HTTP (Twirp) with a token signed here.

LiveKit's own package would bring protobuf along, and a request in this form is a few lines.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from .livekit_records import Dispatch, Participant, dispatch, objects, participant

if TYPE_CHECKING:
    import aiohttp

TOKEN_LIFE, CLOCK_SKEW = 300, 60
"""Seconds that a token is valid, and by how much the server's clock may be behind."""
KEEP_WARM = 20.0
"""Seconds between two looks at the server while nothing happens: a new TLS connection would cost two round trips."""
WARM = 6
"""Connections that are kept open for it: two requests begin each recovery, and with 3 five calls waited 4 ms longer."""
IDLE_CONNECTION = 90.0
ANSWER_MAX = 4 * 1024 * 1024
"""Bytes of an answer; a room of a thousand participants has less than a tenth."""


class ApiError(Exception):
    """LiveKit did not do what was asked; the message is one plain sentence without secrets."""


class NotFound(ApiError):
    """The room, the participant or the dispatch is not there."""


class LiveKitApi:
    """One server and one pool of connections to it. Every method raises ApiError, within `timeout` seconds."""

    def __init__(self, url: str, key: str, secret: str, timeout: float) -> None:
        self._base, self._api_key, self._secret = base_url(url), key, secret.encode()
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._warming: asyncio.Task[None] | None = None
        self._proxy: str | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What tells two of them apart."""
        return self._base, self._api_key, self._secret, self._timeout

    def start(self) -> None:
        """Connect, and keep connections open from now on."""
        self._warming = asyncio.get_running_loop().create_task(self._keep_warm())

    async def close(self) -> None:
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def participants(self, room: str) -> list[Participant]:
        """Who is in the room; nobody, if there is no such room."""
        try:
            answer = await self._ask("RoomService/ListParticipants", room, {})
        except NotFound:
            return []
        return [participant(each) for each in objects(answer, "participants")]

    async def remove(self, room: str, identity: str) -> None:
        await self._ask("RoomService/RemoveParticipant", room, {"identity": identity})

    async def dispatches(self, room: str) -> list[Dispatch]:
        """Of a room that exists: for another one livekit-server takes 3 s to say so."""
        answer = await self._ask("AgentDispatchService/ListDispatch", room, {})
        return [dispatch(each) for each in objects(answer, "agent_dispatches")]

    async def delete(self, room: str, dispatch: str) -> None:
        await self._ask("AgentDispatchService/DeleteDispatch", room, {"dispatch_id": dispatch})

    async def create(self, room: str, like: Dispatch, attributes: Mapping[str, str]) -> Dispatch:
        """A dispatch for the same agent, with the same metadata, and `attributes` beside its own."""
        wanted: dict[str, object] = {"agent_name": like.agent_name, "metadata": like.metadata}
        wanted["attributes"] = {**like.attributes, **attributes}
        if like.deployment:
            wanted["deployment"] = like.deployment
        return dispatch(await self._ask("AgentDispatchService/CreateDispatch", room, wanted))

    async def _ask(self, method: str, room: str, fields: Mapping[str, object]) -> dict[str, Any]:
        import aiohttp

        headers = {"Authorization": f"Bearer {self._token(room)}"}
        url, wanted, session = f"{self._base}/twirp/livekit.{method}", {"room": room, **fields}, self._connected()
        try:
            async with session.post(url, json=wanted, headers=headers, proxy=self._proxy) as answer:
                body = await _whole(answer.content, method)
        except TimeoutError as exc:
            raise ApiError(f"livekit did not answer within {self._timeout:g} s") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise ApiError(f"cannot reach livekit: {_plain(exc)}") from exc
        return _checked(answer.status, body, method)

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            connector = aiohttp.TCPConnector(keepalive_timeout=IDLE_CONNECTION)
            timeout = aiohttp.ClientTimeout(self._timeout)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
            self._proxy = _proxy_for(self._base)
        return self._session

    async def _keep_warm(self) -> None:
        while True:
            await asyncio.gather(*(self._touch() for _ in range(WARM)))
            await asyncio.sleep(KEEP_WARM)

    async def _touch(self) -> None:
        import aiohttp  # in its own time: it takes long to load, and the first worker is not to wait for it

        with contextlib.suppress(ApiError, TimeoutError, aiohttp.ClientError, OSError):  # it is told when it matters
            async with self._connected().get(f"{self._base}/", proxy=self._proxy) as answer:
                await _whole(answer.content, "/")

    def _token(self, room: str) -> str:
        now = int(time.time())
        grants = {"roomAdmin": True, "room": room}
        claims = {"iss": self._api_key, "nbf": now - CLOCK_SKEW, "exp": now + TOKEN_LIFE, "video": grants}
        return sign(claims, self._secret)


def sign(claims: Mapping[str, object], secret: bytes) -> str:
    """A JSON Web Token, signed with HMAC-SHA256 (RFC 7515)."""
    head = _base64(b'{"alg":"HS256","typ":"JWT"}') + b"." + _base64(json.dumps(claims).encode())
    return (head + b"." + _base64(hmac.digest(secret, head, hashlib.sha256))).decode()


def base_url(url: str) -> str:
    """Where the API is, for the URL of the WebSocket."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _proxy_for(base: str) -> str | None:
    """The proxy that the environment names, looked up once: aiohttp itself starts a thread for it in each request."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(base)
    named = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    if not named:
        return None
    return named if "://" in named else f"http://{named}"


async def _whole(content: aiohttp.StreamReader, method: str) -> bytes:
    """The answer may come in any number of pieces."""
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > ANSWER_MAX:
            raise ApiError(f"livekit's answer to {method} is over {ANSWER_MAX} bytes")
    return bytes(body)


def _checked(status: int, body: bytes, method: str) -> dict[str, Any]:
    """The answer, or the error that it is. A refusal's text may quote the token: only its code is passed on."""
    if status == 401:
        raise ApiError("livekit refused the credentials (401)")
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    code = answer.get("code") if isinstance(answer, dict) else None
    if status == 404 and code == "not_found":
        raise NotFound(f"livekit knows no such thing: {method}")
    if status != 200:
        raise ApiError(f"livekit answered {status} to {method}" + (f" ({code})" if isinstance(code, str) else ""))
    if not isinstance(answer, dict):
        raise ApiError(f"livekit's answer to {method} is not JSON")
    return answer


def _plain(exc: BaseException) -> str:
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return " ".join(str(text).split())[:200]
