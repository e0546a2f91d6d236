"""LiveKit's server API, as much of it as recovery needs."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from mindbot_config.host.proxy import proxy_for
from mindbot_supervisor.recovery.livekit_records import Dispatch, Job, Participant

if TYPE_CHECKING:
    import aiohttp
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
    from livekit.api import AgentDispatch, LiveKitAPI, ParticipantInfo
    from livekit.api import Job as ListedJob

KEEP_WARM = 20.0
"""Seconds between two looks at the server while nothing happens: a new TLS connection would cost two round trips."""
WARM = 6
"""Connections that are kept open for it: two requests begin each recovery, and with 3 five calls waited 4 ms longer."""
IDLE_CONNECTION = 90.0
ANSWER_MAX = 4 * 1024 * 1024
"""Bytes of an answer; a room of a thousand participants has less than a tenth."""

T = TypeVar("T")


class ApiError(Exception):
    """LiveKit did not do what was asked; the message is one plain sentence without secrets."""


class NotFound(ApiError):
    """The room, the participant or the dispatch is not there."""


class LiveKitApi:
    """One server and one pool of connections to it. Every method raises ApiError, within `timeout` seconds."""

    def __init__(self, url: str, key: str, secret: str, timeout: float) -> None:
        self._base, self._api_key, self._secret = base_url(url), key, secret
        self._timeout = timeout
        self._loading: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._client: LiveKitAPI | None = None
        self._warming: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"LiveKitApi({self._base!r})"

    @property
    def key(self) -> tuple[object, ...]:
        """What tells two of them apart."""
        return self._base, self._api_key, self._secret, self._timeout

    def start(self) -> None:
        """Connect, and keep connections open from now on."""
        if self._warming is None:
            self._warming = asyncio.get_running_loop().create_task(self._keep_warm())

    async def load(self) -> None:
        """Return when requests can be made at once. Raises ApiError."""
        await self._connected()

    async def close(self) -> None:
        for task in (self._warming, self._loading):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    # -- what is asked -------------------------------------------------------------------------------------------------

    async def participants(self, room: str) -> list[Participant]:
        """Who is in the room; nobody, if there is no such room."""

        async def ask(client: LiveKitAPI) -> list[Participant]:
            from livekit.api import ListParticipantsRequest

            answer = await client.room.list_participants(ListParticipantsRequest(room=room))
            return [_participant(each) for each in answer.participants]

        try:
            return await self._ask("RoomService/ListParticipants", ask)
        except NotFound:
            return []

    async def remove(self, room: str, identity: str) -> None:
        async def ask(client: LiveKitAPI) -> None:
            from livekit.api import RoomParticipantIdentity

            await client.room.remove_participant(RoomParticipantIdentity(room=room, identity=identity))

        await self._ask("RoomService/RemoveParticipant", ask)

    async def rooms(self, names: Collection[str]) -> set[str]:
        """Those of these rooms that exist."""

        async def ask(client: LiveKitAPI) -> set[str]:
            from livekit.api import ListRoomsRequest

            answer = await client.room.list_rooms(ListRoomsRequest(names=list(names)))
            return {each.name for each in answer.rooms}

        return await self._ask("RoomService/ListRooms", ask)

    async def dispatches(self, room: str) -> list[Dispatch]:
        """Of a room that exists: for another one livekit-server takes 3 s to say so."""

        async def ask(client: LiveKitAPI) -> list[Dispatch]:
            return [_dispatch(each) for each in await client.agent_dispatch.list_dispatch(room)]

        return await self._ask("AgentDispatchService/ListDispatch", ask)

    async def delete(self, room: str, dispatch: str) -> None:
        async def ask(client: LiveKitAPI) -> None:
            await client.agent_dispatch.delete_dispatch(dispatch, room)

        await self._ask("AgentDispatchService/DeleteDispatch", ask)

    async def create(self, room: str, like: Dispatch, attributes: Mapping[str, str]) -> Dispatch:
        """A dispatch for the same agent, with the same metadata, and `attributes` beside its own."""

        async def ask(client: LiveKitAPI) -> Dispatch:
            from livekit.api import CreateAgentDispatchRequest

            wanted = CreateAgentDispatchRequest(
                room=room,
                agent_name=like.agent_name,
                metadata=like.metadata,
                deployment=like.deployment,
                attributes={**like.attributes, **attributes},
            )
            return _dispatch(await client.agent_dispatch.create_dispatch(wanted))

        return await self._ask("AgentDispatchService/CreateDispatch", ask)

    # -- how it is asked -----------------------------------------------------------------------------------------------

    async def _ask(self, method: str, ask: Callable[[LiveKitAPI], Awaitable[T]]) -> T:
        """Every failure as one plain sentence. livekit-api asks for no time-out, so this is the only one."""
        client = await self._connected()
        import aiohttp
        from google.protobuf.message import DecodeError
        from livekit.api import ServerError

        try:
            async with asyncio.timeout(self._timeout):
                return await ask(client)
        except TimeoutError as exc:
            raise ApiError(f"livekit did not answer within {self._timeout:g} s") from exc
        except ServerError as exc:
            raise _refused(exc, method) from None
        except OverflowError:
            raise ApiError(f"livekit's answer to {method} is over {ANSWER_MAX} bytes") from None
        except (aiohttp.ClientError, OSError) as exc:
            raise ApiError(f"cannot reach livekit: {_plain(exc)}") from exc
        except (DecodeError, AttributeError, TypeError, ValueError) as exc:
            raise ApiError(f"livekit's answer to {method} cannot be read") from exc

    async def _connected(self) -> LiveKitAPI:
        """The client, as soon as LiveKit's packages are loaded: beside the loop, which goes on meanwhile."""
        if self._client is None:
            if self._loading is None:
                self._loading = asyncio.get_running_loop().create_task(asyncio.to_thread(_load))
            try:
                await asyncio.shield(self._loading)
            except (ImportError, TypeError) as exc:  # a broken installation: protobuf's modules raise either
                self._loading = None
                raise ApiError(f"livekit-api cannot be loaded: {_plain(exc)}") from exc
            self._client = self._client or self._connect()
        return self._client

    def _connect(self) -> LiveKitAPI:
        import aiohttp
        from livekit.api import LiveKitAPI

        connector = aiohttp.TCPConnector(keepalive_timeout=IDLE_CONNECTION)
        timeout = aiohttp.ClientTimeout(self._timeout)
        self._session = aiohttp.ClientSession(
            timeout=timeout, connector=connector, proxy=proxy_for(self._base), response_class=_bounded_response()
        )
        return LiveKitAPI(self._base, self._api_key, self._secret, session=self._session, failover=False)

    async def _keep_warm(self) -> None:
        while True:
            await asyncio.gather(*(self._touch() for _ in range(WARM)))
            await asyncio.sleep(KEEP_WARM)

    async def _touch(self) -> None:
        """One request on a connection of its own. That it failed is told when it matters."""
        with contextlib.suppress(ApiError):
            await self._connected()
            await self._touch_server()

    async def _touch_server(self) -> None:
        import aiohttp

        assert self._session is not None
        with contextlib.suppress(TimeoutError, OverflowError, aiohttp.ClientError, OSError):
            async with self._session.get(f"{self._base}/") as answer:
                await answer.read()


def _load() -> None:
    """Import what the requests need. PyJWT warns, on stderr, of the short secret of a `livekit-server --dev`."""
    import aiohttp  # noqa: F401
    import livekit.api  # noqa: F401
    from jwt.warnings import InsecureKeyLengthWarning

    warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)


def _bounded_response() -> type[aiohttp.ClientResponse]:
    """A response that is read up to ANSWER_MAX bytes, then OverflowError is raised; and whose JSON is an object, as
    livekit-api takes it for one.
    """
    import aiohttp

    class Bounded(aiohttp.ClientResponse):
        async def read(self) -> bytes:
            if self._body is None:
                body = bytearray()
                async for piece in self.content.iter_any():  # it may come in any number of pieces
                    body += piece
                    if len(body) > ANSWER_MAX:
                        self.close()
                        raise OverflowError
                self._body = bytes(body)
            return await super().read()

        async def json(self, **options: Any) -> Any:
            found = await super().json(**options)
            return found if isinstance(found, dict) else {}

    return Bounded


def base_url(url: str) -> str:
    """Where the API is, for the URL of the WebSocket."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _refused(error: object, method: str) -> ApiError:
    """The refusal without its text, which may quote the token: only its code is passed on."""
    status, code = getattr(error, "status", 0), getattr(error, "code", "")
    if status == 401:
        return ApiError("livekit refused the credentials (401)")
    if status == 404 and code == "not_found":
        return NotFound(f"livekit knows no such thing: {method}")
    known = isinstance(code, str) and code.isidentifier() and code != "unknown"
    return ApiError(f"livekit answered {status} to {method}" + (f" ({code})" if known else ""))


def _participant(each: ParticipantInfo) -> Participant:
    from livekit.api import ParticipantInfo

    kind, state = _name(ParticipantInfo.Kind, each.kind), _name(ParticipantInfo.State, each.state)
    return Participant(each.sid, each.identity, kind, state)


def _dispatch(each: AgentDispatch) -> Dispatch:
    return Dispatch(
        id=each.id,
        agent_name=each.agent_name,
        metadata=each.metadata,
        attributes=dict(each.attributes),
        deployment=each.deployment,
        jobs=tuple(_job(job) for job in each.state.jobs),
    )


def _job(job: ListedJob) -> Job:
    from livekit.api import JobStatus, JobType

    state = job.state
    kind, status = _name(JobType, job.type), _name(JobStatus, state.status)
    return Job(job.id, kind, state.participant_identity, state.worker_id, status)


def _name(enum: EnumTypeWrapper, value: int) -> str:
    """The name of an enum's value; its number, for one that a newer server has and this version does not know."""
    try:
        return str(enum.Name(value))
    except ValueError:
        return str(value)


def _plain(exc: BaseException) -> str:
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return " ".join(str(text).split())[:200]
