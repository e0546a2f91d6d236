"""The daemon's HTTP server in a process of its own test: bounds on clients, plain answers to whatever they send."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from mindbot_config.output.redaction import Redactor
from mindbot_supervisor.control import connection_limits, connections
from mindbot_supervisor.control import server as control
from mindbot_supervisor.control.connection_limits import SpareDescriptors
from mindbot_supervisor.control.page_access import PageAccess
from mindbot_supervisor.control.request_fields import Command, NoFields, OfWorker, Scale, Stop
from mindbot_supervisor.control.server import Pages, Server, control_app, http_app
from mindbot_supervisor.control.unix_and_tcp_sockets import listen
from mindbot_supervisor.errors import Refused

pytestmark = pytest.mark.timeout(120)
DEADLINE = 30.0
SECRET = "the-secret-of-this-test"
Asked = list[tuple[str, dict[str, Any]]]


class Site:
    """A server under test: how to reach it, and what it told as bugs."""

    def __init__(self, server: Server, family: int, address: Any) -> None:
        self.server, self.family, self.address = server, family, address
        self.bugs: list[dict[str, Any]] = []
        self.asked: Asked = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connection = socket.socket(self.family)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, self.address)
        return await asyncio.open_connection(sock=connection)

    async def send(self, data: bytes) -> bytes:
        """All that comes back until the connection is closed."""
        async with asyncio.timeout(DEADLINE):
            reader, writer = await self.connect()
            writer.write(data)
            answer = bytearray()
            with contextlib.suppress(ConnectionResetError):
                while piece := await reader.read(65536):
                    answer += piece
            writer.close()
            return bytes(answer)

    async def ask(self, method: str, path: str, body: bytes = b"", *headers: str) -> tuple[int, str]:
        head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
        if body:
            head.append(f"Content-Length: {len(body)}")
        answer = await self.send("\r\n".join([*head, "", ""]).encode() + body)
        top, _, rest = answer.partition(b"\r\n\r\n")
        assert b"\r\nserver:" not in top.lower()
        return int(top.split()[1]), rest.decode()

    async def closed(self, reader: asyncio.StreamReader) -> bool:
        async with asyncio.timeout(DEADLINE):
            try:
                while await reader.read(65536):
                    pass
            except ConnectionResetError:
                return True
        return True


def descriptors() -> list[int]:
    return [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not fact():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def pages(status: Callable[[], dict[str, Any]]) -> Pages:
    def why() -> str | None:
        return f"waiting for +49 170 1234567, {SECRET}"

    async def metrics(accept: str) -> tuple[bytes, str]:
        return b"metrics 1\n", "text/plain; version=0.0.4; charset=utf-8"

    return Pages(status, why, metrics)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """start(kind, most=…, idle=…, status=…) serves and returns the site; `kind` is "tcp" or "unix"."""
    sites: list[Site] = []
    listeners: list[socket.socket] = []
    loop = asyncio.get_running_loop()

    async def begin(
        kind: str = "tcp", most: int = 128, idle: float = 30.0, status: Any = None, access: PageAccess | None = None
    ) -> Site:
        told: Asked = []

        async def command(fields: Any) -> dict[str, Any]:
            told.append((type(fields).__name__, fields.model_dump()))
            if getattr(fields, "worker", "") == "9":
                raise Refused("there is no worker 9")
            if getattr(fields, "worker", "") == "bug":
                raise KeyError("a bug")
            return {"done": True, "note": SECRET}

        shown = pages(status or (lambda: {"supervisor": {"note": SECRET}, "workers": [], "bad": float("inf")}))
        redactor = Redactor([SECRET])
        if kind == "tcp":
            listener = socket.create_server(("127.0.0.1", 0))
            server = Server(http_app(shown, lambda: redactor, access or PageAccess(local=True)), listener)
            site = Site(server, socket.AF_INET, listener.getsockname())
        else:
            found = listen(tmp_path / "c.sock")
            listener = found.socket
            commands = {
                "stop": Command(Stop, command),
                "scale": Command(Scale, command),
                "drain": Command(OfWorker, command),
                "hold": Command(NoFields, command),
            }
            app = control_app(shown, lambda: redactor, commands, {"explain": Command(OfWorker, command)})
            server = Server(app, listener, SpareDescriptors())
            site = Site(server, socket.AF_UNIX, str(found.path))
        site.asked = told
        loop.set_exception_handler(lambda _, context: site.bugs.append(context))
        await server.start(most, idle)
        sites.append(site)
        listeners.append(listener)
        return site

    yield begin
    for site in sites:
        await site.server.close()
    for listener in listeners:
        listener.close()


# -- clients that take too much ----------------------------------------------------------------------------------------


async def test_a_new_client_takes_the_place_of_the_one_that_has_been_idle_for_longest(start):
    site = await start(most=4)
    idle = [await site.connect() for _ in range(4)]
    for _ in range(3):
        assert (await site.ask("GET", "/healthz")) == (200, "ok\n")
    assert await site.closed(idle[0][0])
    assert len(site.server._connections) <= 4


async def test_idle_clients_are_closed_and_those_that_ask_again_are_kept(start):
    site = await start(idle=2.0)
    silent, _ = await site.connect()
    reader, writer = await site.connect()
    for _ in range(4):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"ok\n"), DEADLINE)
        await asyncio.sleep(1)
    assert await site.closed(silent)
    assert await site.closed(reader)


@pytest.mark.parametrize("begun", [b"G", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: y"])
async def test_a_request_that_never_ends_is_cut_off_however_slowly_it_comes(start, monkeypatch, begun):
    monkeypatch.setattr(connections, "REQUEST_TIMEOUT", 2.0)
    site = await start(idle=3600.0)
    reader, writer = await site.connect()
    writer.write(begun)

    async def drip() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"z")
                await asyncio.sleep(0.2)

    dripping = asyncio.create_task(drip())
    assert await site.closed(reader)
    dripping.cancel()


async def test_a_body_that_does_not_come_is_told_so(start, monkeypatch):
    monkeypatch.setattr(control, "REQUEST_TIMEOUT", 0.5)
    site = await start("unix")
    status, text = await site.ask("POST", "/stop", b"", "Content-Length: 20")
    assert (status, text) == (408, "the request did not come in time\n")
    assert site.asked == []


async def test_a_body_that_is_too_large_is_refused(start):
    site = await start("unix")
    status, text = await site.ask("POST", "/stop", b"[" + b"0," * 200_000)
    assert status == 413 and text.count("\n") <= 1
    assert site.asked == []


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_client_that_does_not_read_its_answer_is_cut_off(start, monkeypatch, kind):
    monkeypatch.setattr(connections, "SLOW_AFTER", 2.0)
    site = await start(kind, status=lambda: {"text": "x" * 20_000_000})
    _, writer = await site.connect()
    writer.transport.pause_reading()
    writer.write(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
    await until(lambda: len(site.server._connections) == 1)
    await until(lambda: len(site.server._connections) == 0)
    assert (await site.ask("GET", "/healthz")) == (200, "ok\n")
    writer.transport.abort()


async def test_where_nobody_is_idle_a_new_client_is_refused_in_a_line(start):
    site = await start(most=4, status=lambda: {"text": "x" * 20_000_000})
    busy = []
    for _ in range(4):
        reader, writer = await site.connect()
        writer.transport.pause_reading()
        writer.write(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        busy.append(writer)
    await until(lambda: sum(not each.idle for each in site.server._connections._all) == 4)
    reader, writer = await site.connect()
    answer = await asyncio.wait_for(reader.read(), DEADLINE)
    assert answer.startswith(b"HTTP/1.1 503 ") and answer.endswith(b"\r\n\r\ntoo many connections\n")
    for each in (writer, *busy):
        each.transport.abort()


async def test_pages_never_take_the_last_descriptors_and_the_control_socket_has_its_own(start):
    site, inner = await start("tcp"), await start("unix")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [socket.socket() for _ in range(60)]
    asking = socket.socket(socket.AF_UNIX)
    top, held = max(descriptors()), [os.dup(0)]
    while held[-1] < top:
        held.append(os.dup(0))  # no free number below: the next ones are counted
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 1 + 60, before[1]))
    try:
        for client in clients:
            client.setblocking(False)
            client.connect_ex(site.address)
        most = 60 - min(connection_limits.RESERVED, (held[-1] + 61) // 4)
        await until(lambda: len(site.server._connections) >= most - 4)
        await asyncio.sleep(0.2)
        assert len(site.server._connections) <= most
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        asking.connect(inner.address)
        asking.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        asking.setblocking(False)
        answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(asking, 65536), DEADLINE)
        assert answer.endswith(b"ok\n")
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for client in (*clients, asking):
            client.close()


# -- requests that are none --------------------------------------------------------------------------------------------

MALFORMED = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /stop HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nX: \x00\r\n\r\n",
]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("request_", MALFORMED, ids=range(len(MALFORMED)))
async def test_what_is_no_request_gets_one_plain_line_and_nobody_a_traceback(start, capfd, kind, request_):
    site = await start(kind, idle=2.0)
    answer = await site.send(request_)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 4"), answer
    assert b"server:" not in head.lower() and body.count(b"\n") == 1 and b"Traceback" not in body
    assert site.asked == [] and site.bugs == []
    assert capfd.readouterr().err == ""


BAD_FIELDS = [
    ("/stop", b'{"now":"false"}', 'stop: "now" must be true or false'),
    ("/stop", b'{"now":1}', 'stop: "now" must be true or false'),
    ("/stop", b'{"now":null}', 'stop: "now" must be true or false'),
    ("/stop", b'{"nwo":true}', 'stop: unknown field "nwo"; it takes "now"'),
    ("/hold", b'{"now":true}', 'hold: unknown field "now"; it takes no fields'),
    ("/scale", b"{}", "scale: must have either workers or change, a whole number"),
    ("/scale", b'{"workers":"4"}', 'scale: "workers" must be a whole number'),
    ("/scale", b'{"workers":true}', 'scale: "workers" must be a whole number'),
    ("/scale", b'{"workers":4.0}', 'scale: "workers" must be a whole number'),
    ("/scale", b'{"workers":0}', 'scale: "workers" must be 1 or more'),
    ("/scale", b'{"workers":99999}', 'scale: "workers" must be 1024 or less'),
    ("/drain", b'{"worker":0}', 'drain: "worker" must be text'),
    ("/drain", json.dumps({"worker": "x" * 65}).encode(), 'drain: "worker" must have 64 characters at most'),
    ("/stop?now=true", b"", "fields are sent as a JSON object, not in the query"),
    ("/stop", b"[1]", "the request is not a JSON object"),
    ("/stop", b"now=true", "the request is not JSON"),
    ("/stop", b'{"now":NaN}', "the request is not JSON"),
    ("/stop", b"[" * 60_000, "the request is not JSON"),
    ("/stop", b'{"a":' * 10_000, "the request is not JSON"),
    ("/stop", b"\xff\xfe\x00", "the request is not JSON"),
]


@pytest.mark.parametrize(("path", "body", "words"), BAD_FIELDS, ids=[str(words) for _, _, words in BAD_FIELDS])
async def test_a_command_takes_its_own_fields_and_types_only(start, capfd, path, body, words):
    site = await start("unix")
    status, text = await site.ask("POST", path, body)
    assert (status, json.loads(text)) == (400, {"error": words})
    assert site.asked == [] and site.bugs == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["application/json; charset=no-such", "text/plain; charset=utf-16", "x", ""])
async def test_json_is_read_whatever_its_type_is_called(start, kind):
    site = await start("unix")
    status, text = await site.ask("POST", "/stop", b'{"now":true}', f"Content-Type: {kind}")
    assert (status, json.loads(text)) == (200, {"done": True, "note": "***"})
    assert site.asked == [("Stop", {"now": True})]


async def test_a_compressed_body_is_not_unpacked(start):
    site = await start("unix")
    status, _ = await site.ask("POST", "/stop", b"\x1f\x8b\x08" + b"\x00" * 40, "Content-Encoding: gzip")
    assert status == 400 and site.asked == []


async def test_a_refusal_and_a_bug_are_one_line_each_and_a_bug_is_told(start, capfd):
    site = await start("unix")
    assert await site.ask("POST", "/drain", b'{"worker":"9"}') == (409, '{"error": "there is no worker 9"}')
    assert await site.ask("POST", "/drain", b'{"worker":"bug"}') == (500, "internal error\n")
    assert [str(each["exception"]) for each in site.bugs] == ["'a bug'"]
    assert await site.ask("GET", "/explain?worker=0") == (200, '{"done": true, "note": "***"}')
    assert (await site.ask("GET", "/explain?wroker=0"))[0] == 400
    assert capfd.readouterr().err == ""


PIECES = [
    b"GET ", b"POST ", b"/stop", b"/status", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: localhost\r\n", b"\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n", b"Connection: upgrade\r\n", b"5\r\nhello\r\n",
    b"0\r\n\r\n", b'{"now":true}', b"\x00\xff", b"Content-Encoding: gzip\r\n", b":", b" ", b"%", b"[" * 1000,
]  # fmt: skip


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_random_requests_cause_no_bug_and_no_word_on_stderr(start, capfd, kind):
    site, chance = await start(kind, idle=1.0), random.Random(7)

    async def one() -> None:
        with contextlib.suppress(ConnectionError):
            await site.send(b"".join(chance.choices(PIECES, k=chance.randint(1, 12))))

    for _ in range(10):
        await asyncio.gather(*(one() for _ in range(40)))
    assert site.bugs == [] and capfd.readouterr().err == ""
    await until(lambda: len(site.server._connections) == 0)
    assert (await site.ask("GET", "/healthz")) == (200, "ok\n")


# -- what is shown, and to whom ----------------------------------------------------------------------------------------


async def test_every_answer_is_strict_json_without_secrets_and_without_a_server_header(start):
    site = await start()
    status, text = await site.ask("GET", "/status")
    assert status == 200
    assert json.loads(text, parse_constant=pytest.fail) == {
        "supervisor": {"note": "***"},
        "workers": [],
        "bad": None,
    }
    assert (await site.ask("GET", "/readyz")) == (503, "waiting for +49 170 1234567, ***\n")
    assert (await site.ask("GET", "/metrics")) == (200, "metrics 1\n")
    assert (await site.ask("GET", "/nowhere"))[0] == 404
    assert (await site.ask("POST", "/status"))[0] == 405


HOSTS = {
    "localhost": 200,
    "LOCALHOST:8090": 200,
    "127.0.0.1": 200,
    "192.0.2.7:1": 200,
    "[::1]:8090": 200,
    "pool.example.org": 200,
    "Pool.Example.org.:8090": 200,
    "evil.example": 403,
    "localhost.evil.example": 403,
    "127.0.0.1.evil.example:8090": 403,
    "pool.example.org@evil.example": 403,
    "2130706433": 403,
    "": 403,
}


@pytest.mark.parametrize("path", ["/status", "/metrics", "/readyz", "/nowhere"])
async def test_a_page_that_names_us_as_its_own_reads_nothing(start, path):
    access = PageAccess(local=True, allowed=frozenset({"pool.example.org"}))
    site = await start(access=access)
    for host, expected in HOSTS.items():
        answer = await site.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        code = int(answer.split()[1])
        assert (code == 403) is (expected == 403), (host, answer)
        assert b"access-control" not in answer.lower()
        if expected == 403:
            assert answer.partition(b"\r\n\r\n")[2].count(b"\n") == 1 and b"x" * 10 not in answer


async def test_a_request_without_a_host_or_for_another_site_is_refused(start):
    site = await start()
    for request in (
        b"GET /status HTTP/1.0\r\n\r\n",
        b"GET http://localhost/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /status HTTP/1.0\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    ):
        assert b" 403 " in (await site.send(request)).split(b"\r\n")[0] or b" 400 " in (await site.send(request))


CALL = {"room": "sip-+4917012345678", "identity": "caller-anna", "job": "AJ_1", "pid": 4711, "state": "speaking"}


def with_identities() -> dict[str, Any]:
    row = {"worker": "0.1", "phase": "ready", "calls": [CALL], "problem": "caller-anna left sip-+4917012345678"}
    return {"workers": [row], "calls": {"active": 1, "lost": 20261122}, "parked_until": "2026-11-22T15:44:22.660Z"}


@pytest.mark.parametrize(
    ("access", "shown"),
    [(PageAccess(local=True), True), (PageAccess(local=False), False), (PageAccess(False, identities=True), True)],
)
async def test_other_hosts_see_identities_only_where_that_was_asked_for(start, access, shown):
    site = await start(status=with_identities, access=access)
    _, text = await site.ask("GET", "/status")
    _, why = await site.ask("GET", "/readyz")
    for name in ("4917012345678", "caller-anna", "AJ_1"):
        assert (name in text) is shown
    assert ("1234567" in why) is shown
    status = json.loads(text)
    assert status["calls"] == {"active": 1, "lost": 20261122}
    assert status["parked_until"] == "2026-11-22T15:44:22.660Z"
    assert len(status["workers"][0]["calls"]) == 1 and status["workers"][0]["calls"][0]["pid"] == 4711
