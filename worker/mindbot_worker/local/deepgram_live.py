"""A live conversation with the Deepgram stand-in: sound and control messages in, what was said out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from mindbot_worker.local.deepgram_format import Messages, Query
from mindbot_worker.local.faults import EMPTY, Fault, trip
from mindbot_worker.local.listening import Event, Listener, Words
from mindbot_worker.local.seen import add_text

# Deepgram hangs up on a client from which nothing came for this long, KeepAlive included.
_SILENT_CLIENT_SECONDS = 12.0
_NO_DATA_CLOSE = 1011


class Conversation:
    """One websocket from its first sound to its last word."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        query: Query,
        listener: Listener,
        entry: dict[str, Any],
        fault: Fault | None,
    ) -> None:
        self._socket, self._query, self._listener = socket, query, listener
        self._messages = Messages(query)
        self._entry, self._fault = entry, fault
        self._odd = b""

    async def run(self) -> None:
        await trip(self._fault, 0)
        while True:
            try:
                message = await self._socket.receive(timeout=_SILENT_CLIENT_SECONDS)
            except TimeoutError:
                await self._socket.close(code=_NO_DATA_CLOSE, message=b"NET-0001")
                return
            if message.type is WSMsgType.BINARY:
                await self._hear(message.data)
            elif message.type is WSMsgType.TEXT:
                if await self._told(message.data):
                    return
            else:
                return

    async def _hear(self, data: bytes) -> None:
        if not data:  # an older way to say CloseStream
            await self._finish()
            return
        whole = self._odd + data
        usable = len(whole) // (2 * self._query.channels) * 2 * self._query.channels
        self._odd = whole[usable:]
        samples = np.frombuffer(whole[:usable], "<i2")[:: self._query.channels].astype(np.float32) / np.float32(32768)
        await self._say(self._listener.feed(samples))
        await trip(self._fault, self._listener.now)

    async def _told(self, text: str) -> bool:
        """Obeys a control message; True once the conversation is over."""
        try:
            command = json.loads(text).get("type")
        except (ValueError, AttributeError):
            command = None
        if command == "Finalize":
            await self._say(self._listener.flush(), from_finalize=True)
        elif command in ("CloseStream", "CloseFrame"):
            await self._finish()
            return True
        return False

    async def _finish(self) -> None:
        await self._say(self._listener.flush())
        await self._socket.send_json(self._messages.metadata(self._listener.now))
        await self._socket.close()

    async def _say(self, events: Iterable[Event], *, from_finalize: bool = False) -> None:
        for event in events:
            message = self._messages.of(event, from_finalize=from_finalize)
            if message is None or (self._fault is not None and self._fault.fault == EMPTY):
                continue
            if isinstance(event, Words) and event.final:
                add_text(self._entry, "transcripts", message["channel"]["alternatives"][0]["transcript"])
            await self._socket.send_json(message)
