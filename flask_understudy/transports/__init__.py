"""What carries "there is work" from senders to workers. The ledger decides; a transport may forget everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..ledger.transitions import Due
from .database import DatabaseTransport
from .redis import RedisTransport


class Transport(Protocol):
    """The verbs of a transport. Only `announce`, `take` and `depths` may raise, and then `TransportError`."""

    name: str

    @property
    def is_up(self) -> bool:
        """Whether the last exchange worked; a probe in the background finds out when it does again."""

    def check(self) -> bool:
        """Ask the broker now whether it is there."""

    def announce(self, jobs: Sequence[Due]) -> None:
        """Say that jobs wait; within the broker's timeout, or not at all."""

    def take(self, queue: str, n: int) -> list[str]:
        """Return up to `n` announced ids, the best first, and forget them."""

    def wait(self, queue: str, timeout: float) -> list[str]:
        """Sleep until something is announced or `timeout` s are over; return what was taken."""

    def depths(self, queues: Sequence[str]) -> dict[str, int]:
        """Return how many ids each queue holds."""

    def close(self) -> None:
        """Give up connections and threads."""


def transport_for(url: str, *, runway: int, timeout: float) -> Transport:
    """Return the transport of a URL: `database`, or `redis://…`.

    Args:
        url: As `config.addresses.transport_url` returns it.
        runway: Ids per queue that the broker holds at the most.
        timeout: s that one exchange may take in a request.
    """
    if url == "database":
        return DatabaseTransport()
    return RedisTransport(url, runway=runway, timeout=timeout)


__all__ = ["DatabaseTransport", "RedisTransport", "Transport", "transport_for"]
