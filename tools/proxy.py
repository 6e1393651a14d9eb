"""A TCP proxy that puts faults between a client and its server.

    with FaultProxy(redis.host, redis.port) as proxy:
        client = Redis.from_url(proxy.url_for(redis.url))
        proxy.blackhole()

It runs in a thread of its own and is controlled from any other. A fault applies to open
connections and to new ones; `heal()` ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self, TypeVar
from urllib.parse import urlsplit

from tools.servers.process import free_port

T = TypeVar("T")
CHUNK = 65_536
QUEUED_PIECES = 1_000


class FaultProxy:
    """A proxy in front of one server; a context manager.

    Attributes:
        host: Always 127.0.0.1.
        port: The proxy's own port.
        connections: How many connections clients have made so far.
    """

    host = "127.0.0.1"

    def __init__(self, target_host: str, target_port: int) -> None:
        """Prepare a proxy to `target_host:target_port`, without starting it."""
        self.target_host = target_host
        self.target_port = target_port
        self.port = free_port()
        self.connections = 0
        self._latency_seconds = 0.0
        self._passing = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    def url_for(self, url: str) -> str:
        """The same URL with the proxy's host and port instead of the server's."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}{at}{self.host}:{self.port}").geturl()

    def start(self) -> Self:
        """Start passing bytes."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.heal()
        return self

    def close(self) -> None:
        """Cut all connections and end the proxy."""
        self._call(self._shut)
        asyncio.run_coroutine_threadsafe(self._end_tasks(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def latency(self, seconds: float) -> None:
        """Delay every piece of data by `seconds`, in both directions."""
        self._latency_seconds = seconds

    def blackhole(self) -> None:
        """Accept connections and data, and let nothing through: both sides wait for ever."""
        self._call(self._passing.clear)

    def refuse(self) -> None:
        """Listen no more, so that connecting is refused, and reset what is open."""
        self._call(self._shut)

    def reset(self) -> None:
        """Reset the open connections (RST); new ones are served."""
        self._call(self._abort_all)

    def heal(self) -> None:
        """Pass bytes as if nothing had been: no latency, no black hole, listening."""
        self._latency_seconds = 0.0
        self._call(self._passing.set)
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, change: Callable[[], T]) -> T:
        """Make a change in the proxy's own thread and wait until it is made."""

        async def made() -> T:
            return change()

        return asyncio.run_coroutine_threadsafe(made(), self._loop).result()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, self.host, self.port)

    def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._abort_all()

    def _abort_all(self) -> None:
        for writer in self._open:
            # Linger for no time: the connection ends with a reset instead of a farewell.
            with contextlib.suppress(OSError):
                peer = writer.get_extra_info("socket")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _end_tasks(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        ends = {writer}
        try:
            await self._passing.wait()
            answers, upstream = await asyncio.open_connection(self.target_host, self.target_port)
            ends.add(upstream)
            self._open.add(upstream)
            await asyncio.gather(self._pass(reader, upstream), self._pass(answers, writer))
            for end in ends:
                end.close()
                await end.wait_closed()
        except OSError:
            pass  # one side is gone: so is the other
        finally:
            for end in ends:
                end.transport.abort()
            self._open -= ends

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one direction's bytes, each piece when its time has come."""
        pieces: asyncio.Queue[tuple[float, bytes | OSError]] = asyncio.Queue(QUEUED_PIECES)
        receiving = asyncio.create_task(self._receive(reader, pieces))
        try:
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(due - self._loop.time())
                if isinstance(piece, OSError):
                    raise piece
                await self._passing.wait()
                if not piece:
                    writer.write_eof()
                    break
                writer.write(piece)
                await writer.drain()
        finally:
            receiving.cancel()

    async def _receive(
        self,
        reader: asyncio.StreamReader,
        pieces: asyncio.Queue[tuple[float, bytes | OSError]],
    ) -> None:
        """Note what comes in and when it may go out; an empty piece or an error is the last."""
        piece: bytes | OSError = b"?"
        while piece and not isinstance(piece, OSError):
            try:
                piece = await reader.read(CHUNK)
            except OSError as error:
                piece = error
            await pieces.put((self._loop.time() + self._latency_seconds, piece))
