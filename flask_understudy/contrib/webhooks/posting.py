"""One HTTP request to a stranger's server, bounded in every way (security rows S10 to S12).

The connection goes to a vetted address, while `Host`, TLS name and certificate stay those of the name. Nothing of the
environment is used, no redirect is followed, and whatever the other side does, the whole ends after `TOTAL_SECONDS`.
"""

from __future__ import annotations

import functools
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError

from ...encoding import printable
from ...redaction import redacted_text
from .destinations import Destination

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
MOST_READ_BYTES = 65_536
MOST_KEPT_CHARACTERS = 1_000
NO_ANSWER = "no_answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request.

    Attributes:
        status: The HTTP status; None = there was no answer.
        body: The beginning of the answer's body, printable and redacted; empty without an answer.
        retry_after: The header `Retry-After`; empty = none.
        duration_ms: ms that it took.
    """

    status: int | None
    body: str
    retry_after: str
    duration_ms: int

    @property
    def is_success(self) -> bool:
        """Whether the receiver took the delivery: 2xx and nothing else."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_outage(self) -> bool:
        """Whether it tells of the receiver rather than of this delivery."""
        return self.status is None or self.status >= 500 or self.status == 429


class Deadline:
    """Cuts a connection off when its time is over, whatever it waits for."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        self._timers: list[tuple[threading.Timer, socket.socket]] = []

    @property
    def left(self) -> float:
        """How many s are left; at least a little."""
        return max(0.001, self._ends_at - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._ends_at

    def watch(self, connected: socket.socket) -> None:
        """Cut this connection off too; a duplicate of it stays reachable when TLS takes the socket over."""
        twin = connected.dup()
        timer = threading.Timer(self.left, _cut, [twin])
        timer.daemon = True
        timer.start()
        self._timers.append((timer, twin))

    def close(self) -> None:
        """Stop watching."""
        for timer, twin in self._timers:
            timer.cancel()
            timer.join()
            twin.close()


def _cut(twin: socket.socket) -> None:
    with suppress(OSError):
        twin.shutdown(socket.SHUT_RDWR)


class _Pinned:
    """Mixin: connects to given addresses instead of asking what the host's are."""

    addresses: list[str]
    deadline: Deadline

    def _new_conn(self) -> socket.socket:
        connection: Any = self
        problem: OSError | None = None
        for address in self.addresses:
            try:
                timeout = min(CONNECT_SECONDS, self.deadline.left)
                connected = socket.create_connection((address, connection.port), timeout=timeout)
            except OSError as error:
                problem = error
                continue
            self.deadline.watch(connected)
            return connected
        raise NewConnectionError(connection, "no address could be connected to") from problem


class _PinnedHTTP(_Pinned, HTTPConnection):
    """A plain connection to a vetted address."""


class _PinnedHTTPS(_Pinned, HTTPSConnection):
    """A TLS connection to a vetted address; the certificate has to be the name's."""


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return what checks certificates, made once in a process: reading the authorities takes a while."""
    return ssl.create_default_context()


def post(
    destination: Destination,
    addresses: list[str],
    body: bytes,
    headers: Mapping[str, str],
    *,
    context: ssl.SSLContext | None = None,
    seconds: float = TOTAL_SECONDS,
) -> Answer:
    """Send a body and return what came of it; a server that cannot be reached is an answer without status.

    Args:
        destination: Where to.
        addresses: What the host was resolved to, all of them vetted.
        body: The bytes that are sent.
        headers: Sent along.
        context: What checks the certificate; default that of `tls_context`.
        seconds: s that all of it may take.
    """
    began, deadline = time.monotonic(), Deadline(seconds)
    try:
        status, read, retry_after = _exchange(destination, addresses, body, headers, context, deadline)
    except (HTTPError, OSError, ValueError):  # ValueError: what urllib3 cannot make sense of in an answer
        status, read, retry_after = None, b"", ""
    finally:
        deadline.close()
    text = redacted_text(printable(read.decode("utf-8", "replace"), 4 * MOST_KEPT_CHARACTERS))
    shown = "".join(character if character.isprintable() else " " for character in text)
    return Answer(status, shown[:MOST_KEPT_CHARACTERS], retry_after, int((time.monotonic() - began) * 1000))


def _exchange(
    destination: Destination,
    addresses: list[str],
    body: bytes,
    headers: Mapping[str, str],
    context: ssl.SSLContext | None,
    deadline: Deadline,
) -> tuple[int, bytes, str]:
    with _pool(destination, addresses, context, deadline) as pool:
        response = pool.urlopen(
            "POST",
            destination.target,
            body=body,
            headers={**headers, "Accept-Encoding": "identity"},
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )
        if deadline.is_over:  # what was cut off among its headers looks like an answer without the rest of them
            raise TimeoutError
        read = b""
        with suppress(HTTPError, OSError, ValueError):  # the status is what counts, and it is there
            read = response.read(MOST_READ_BYTES, decode_content=False)
        response.close()
        return response.status, read, response.headers.get("Retry-After", "")


def _pool(
    destination: Destination, addresses: list[str], context: ssl.SSLContext | None, deadline: Deadline
) -> HTTPConnectionPool:
    pinned = {"addresses": addresses, "deadline": deadline}
    options: dict[str, Any] = {"maxsize": 1, "timeout": Timeout(connect=CONNECT_SECONDS, read=deadline.left)}
    if destination.scheme == "http":
        pool = HTTPConnectionPool(destination.host, destination.port, **options)
        pool.ConnectionCls = type("Pinned", (_PinnedHTTP,), pinned)
        return pool
    secured = HTTPSConnectionPool(destination.host, destination.port, ssl_context=context or tls_context(), **options)
    secured.ConnectionCls = type("Pinned", (_PinnedHTTPS,), pinned)
    return secured
