"""A receiver of notices: a real HTTP server in a thread of its own, that answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DEADLINE = 30.0


@dataclass
class Post:
    body: bytes
    headers: dict[str, str]
    at: float

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


@dataclass
class Receiver:
    """`answers` are used up one after the other, as (status, headers); then it is 204. Use as a context manager."""

    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)

    def __enter__(self) -> Receiver:
        self._came = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook/with-a-token"

    def wait(self, enough: Callable[[list[Post]], Any], within: float = DEADLINE) -> Any:
        """The first true value of `enough`, asked at every post."""
        with self._came:
            assert self._came.wait_for(lambda: enough(self.posts), within), self.posts
            return enough(self.posts)

    def of(self, event: str) -> list[Post]:
        return [post for post in list(self.posts) if post.json["event"] == event]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver._came:
                    receiver.posts.append(Post(body, dict(self.headers), time.monotonic()))
                    status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
                    receiver._came.notify_all()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler
