"""The Redis transport: per queue one sorted set of ids, the best first, and short.

The score is (priority, turn), so an urgent job goes in front at once and announcing twice is one entry. Beyond the
runway the worst entries are dropped; they are safe in the ledger. Taking an id forgets it: the claim is the
acknowledgement.

redis-py's own defaults would hold a request for up to a minute and repeat what may have arrived, hence clients of our
own with short timeouts and no retries.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import TransportError
from ..ledger.transitions import Due
from .breaker import Breaker

logger = logging.getLogger("flask_understudy")

PREFIX = "understudy:"
BLOCK_SECONDS = 1.0
BLOCK_MARGIN_SECONDS = 1.5
_EPOCH_MS = 1_577_836_800_000  # 2020-01-01
_TIME_BITS = 41  # ms of 69 years
_PRIORITY_OFFSET = 1024

_ANNOUNCE = """
local key, runway = KEYS[1], tonumber(ARGV[1])
for i = 2, #ARGV, 2 do redis.call('ZADD', key, ARGV[i], ARGV[i + 1]) end
local over = redis.call('ZCARD', key) - runway
if over > 0 then redis.call('ZREMRANGEBYRANK', key, -over, -1) end
return over
"""


def score(job: Due) -> int:
    """Return a job's place in the order: its priority, then its turn in ms, in the 53 bits of a double."""
    return ((job.priority + _PRIORITY_OFFSET) << _TIME_BITS) + max(0, job.turn_ms - _EPOCH_MS)


class RedisTransport:
    """Announces ids through Redis or Valkey.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with redis-py's options in its query.
        runway: Ids per queue at the most.
        timeout: s that one exchange may take.
    """

    name = "redis"
    keeps_order = True

    def __init__(self, url: str, *, runway: int, timeout: float) -> None:
        self.url = url
        self.runway = runway
        self.timeout = timeout
        self.breaker = Breaker(self._ping)
        self._clients: dict[tuple[int, bool], redis.Redis] = {}

    def _client(self, blocking: bool = False) -> redis.Redis:
        key = (os.getpid(), blocking)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = redis.Redis.from_url(
                self.url,
                socket_connect_timeout=self.timeout,
                socket_timeout=BLOCK_SECONDS + BLOCK_MARGIN_SECONDS if blocking else self.timeout,
                retry=Retry(NoBackoff(), 0),
                decode_responses=True,
                encoding_errors="replace",  # whatever somebody wrote there, it is no id of ours
                protocol=2,
                driver_info=None,
            )
        return client

    @property
    def is_up(self) -> bool:
        """Whether the breaker is closed."""
        return self.breaker.is_closed

    def check(self) -> bool:
        """Ask Redis now, within the timeout; while the breaker is open the probe's word is taken."""
        try:
            self._guarded(self._ping)
        except TransportError:
            return False
        return True

    def _ping(self) -> None:
        self._client().ping()

    def _guarded(self, act: Any) -> Any:
        if not self.breaker.is_closed:
            raise TransportError("Redis is down.")
        try:
            return act()
        except (redis.RedisError, OSError) as problem:
            self.breaker.open(problem)
            raise TransportError(f"Redis failed: {type(problem).__name__}: {problem}") from problem

    def announce(self, jobs: Sequence[Due]) -> None:
        """Put ids into their queues' sets and trim those to the runway; one round trip.

        Raises:
            TransportError: Redis is down or did not answer in time; the ids may have arrived all the same.
        """
        by_queue: dict[str, list[Any]] = {}
        for job in jobs:
            by_queue.setdefault(job.queue, [self.runway]).extend((score(job), job.id))

        def act() -> None:
            client = self._client()
            if len(by_queue) == 1 and len(jobs) == 1:
                (queue, argv), *_ = by_queue.items()
                client.eval(_ANNOUNCE, 1, PREFIX + queue, *argv)
                return
            with client.pipeline(transaction=False) as pipeline:
                for queue, argv in by_queue.items():
                    pipeline.eval(_ANNOUNCE, 1, PREFIX + queue, *argv)
                pipeline.execute()

        self._guarded(act)

    def take(self, queue: str, n: int) -> list[str]:
        """Pop up to `n` ids, the best first.

        Raises:
            TransportError: Redis is down.
        """
        found = self._guarded(lambda: self._client().zpopmin(PREFIX + queue, n))
        return [member for member, _ in found]

    def wait(self, queue: str, timeout: float) -> list[str]:
        """Block until an id is announced, which wakes one waiter alone, and pop it; for `BLOCK_SECONDS` at the most.

        Raises:
            TransportError: Redis is down.
        """
        found = self._guarded(lambda: self._client(blocking=True).bzpopmin(PREFIX + queue, min(timeout, BLOCK_SECONDS)))
        return [found[1]] if found else []

    def depths(self, queues: Sequence[str]) -> dict[str, int]:
        """Count the ids of each queue in one round trip.

        Raises:
            TransportError: Redis is down.
        """

        def act() -> list[int]:
            with self._client().pipeline(transaction=False) as pipeline:
                for queue in queues:
                    pipeline.zcard(PREFIX + queue)
                return list(pipeline.execute())

        return dict(zip(queues, self._guarded(act), strict=True)) if queues else {}

    def close(self) -> None:
        """Close this process's connections and end the breaker's probe."""
        self.breaker.stop()
        for (pid, _), client in list(self._clients.items()):
            if pid == os.getpid():
                client.close()
