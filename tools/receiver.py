"""A webhook receiver that keeps what it is sent, and answers as it is told."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tools.servers.process import free_port
from tools.waiting import wait_for


@dataclass(frozen=True, slots=True)
class Received:
    """One request: its path, headers in lower case, and the bytes of its body."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered: bytes as they are, after the status line and headers when there is a status."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Receiver:
    """An HTTP server on 127.0.0.1; a context manager.

    Attributes:
        port: The port it listens on.
        requests: What came, oldest first.
        replies: What is answered next, one each; then 204.
        hold: While it is cleared, requests wait for their answers.
        most_at_once: How many requests it had at a time at the most.

    Args:
        port: The port; by default a free one.
        pause_seconds: How long each answer takes.
        context: Makes it HTTPS.
    """

    host = "127.0.0.1"

    def __init__(
        self, *, port: int | None = None, pause_seconds: float = 0, context: ssl.SSLContext | None = None
    ) -> None:
        self.port = port or free_port()
        self.pause_seconds = pause_seconds
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self.requests: list[Received] = []
        self.replies: list[Reply] = []
        self.always: Reply | None = None
        self.hold = threading.Event()
        self.hold.set()
        self._context = context
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """A URL of it."""
        return f"{'https' if self._context else 'http'}://{self.host}:{self.port}/hook"

    def start(self) -> Self:
        """Start listening."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                names = {name.lower(): value for name, value in self.headers.items()}
                with receiver._lock:
                    receiver._at_once += 1
                    receiver.most_at_once = max(receiver.most_at_once, receiver._at_once)
                receiver.requests.append(Received(self.path, names, self.rfile.read(length)))
                receiver.hold.wait(30)
                time.sleep(receiver.pause_seconds)
                with receiver._lock:  # before the answer, after which the next may come
                    receiver._at_once -= 1
                reply = receiver.replies.pop(0) if receiver.replies else receiver.always or Reply()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in reply.headers:
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((self.host, self.port), Handler)
        if self._context is not None:
            self._server.socket = self._context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def close(self) -> None:
        """Listen no more: from now on connections are refused."""
        if self._server is not None:
            self.hold.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def wait(self, count: int = 1, *, timeout_seconds: float = 15.0) -> list[Received]:
        """Wait until there are `count` requests and return all there are."""
        wait_for(lambda: len(self.requests) >= count, f"{count} webhooks", timeout_seconds=timeout_seconds)
        return list(self.requests)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
