"""A Redis (or Valkey) server that keeps nothing on disk."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tools.servers import binaries
from tools.servers.process import Server


class RedisServer(Server):
    """A private Redis server; after a stop, a kill or a restart it is empty."""

    name = "redis"

    def __init__(self, *, port: int | None = None, options: Mapping[str, str] | None = None) -> None:
        """Prepare a server, without starting it.

        Args:
            port: The port to listen on; by default a free one is chosen.
            options: Settings as in redis.conf: `{"maxmemory": "3mb", "requirepass": "secret"}`.
        """
        super().__init__(port=port)
        self._options = {"maxmemory-policy": "noeviction", "databases": "64", **(options or {})}

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return self.url_for(0)

    def url_for(self, database: int) -> str:
        """The URL of the database with this number, 0 to 63."""
        password = self._options.get("requirepass", "")
        login = f":{quote(password, safe='')}@" if password else ""
        return f"redis://{login}{self.host}:{self.port}/{database}"

    def _command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": self.host,
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            "loglevel": "notice",
            **self._options,
        }
        flags = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [str(binaries.redis_server()), *flags]

    def _answers(self) -> bool:
        client = redis.Redis.from_url(
            self.url,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=1,
            socket_timeout=0.5,
        )
        with client:
            try:
                return bool(client.info("server")["process_id"] == self.pid)
            except (redis.ConnectionError, redis.TimeoutError):
                return False
