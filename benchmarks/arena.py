"""The servers of a run, and the databases in them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import redis
from sqlalchemy import create_engine

from tools.servers import PostgresServer, RedisServer

ROOT = Path(__file__).resolve().parent.parent
PYTHON = Path(sys.executable)


class Arena:
    """PostgreSQL with fsync on, Redis for us and Redis for the peers; started when first asked for."""

    def __init__(self) -> None:
        """Prepare; nothing is started yet."""
        self._parts = ExitStack()
        self._servers: dict[str, PostgresServer | RedisServer] = {}
        self.folder = Path(self._parts.enter_context(TemporaryDirectory(prefix="understudy-bench-")))
        self._databases = 0

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    @property
    def postgres(self) -> PostgresServer:
        """The PostgreSQL server."""
        if "postgres" not in self._servers:
            self._servers["postgres"] = self._parts.enter_context(
                PostgresServer(fsync=True, settings={"shared_buffers": "256MB", "max_wal_size": "4GB"})
            )
        server = self._servers["postgres"]
        assert isinstance(server, PostgresServer)
        return server

    def redis(self, whose: str = "ours") -> RedisServer:
        """The Redis server of a party, so that its commands can be counted apart."""
        if whose not in self._servers:
            self._servers[whose] = self._parts.enter_context(RedisServer())
        server = self._servers[whose]
        assert isinstance(server, RedisServer)
        return server

    def new_database(self) -> str:
        """Make an empty PostgreSQL database and return its SQLAlchemy URL."""
        self._databases += 1
        name = f"bench{self._databases}"
        with self.session() as session:
            session.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return self.postgres.url_for(name)

    def new_sqlite(self) -> str:
        """Return the SQLAlchemy URL of a SQLite file that does not exist yet."""
        self._databases += 1
        return f"sqlite:///{self.folder / f'bench{self._databases}.db'}"

    @contextmanager
    def session(self, url: str | None = None) -> Iterator[psycopg.Connection]:
        """A session of the superuser, each statement committed by itself."""
        url = (url or self.postgres.url).replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as session:
            yield session

    @contextmanager
    def setting(self, name: str, value: str) -> Iterator[None]:
        """Change a setting of PostgreSQL for the length of the block."""
        with self.session() as session:
            session.execute(f"ALTER SYSTEM SET {name} = '{value}'")  # type: ignore[arg-type]
            session.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            with self.session() as session:
                session.execute(f"ALTER SYSTEM RESET {name}")  # type: ignore[arg-type]
                session.execute("SELECT pg_reload_conf()")

    def wipe(self, whose: str) -> None:
        """Empty a party's Redis."""
        with redis.Redis.from_url(self.redis(whose).url) as client:
            client.flushall()


def create_tables(url: str) -> None:
    """Make the ledger's tables and the business's in a database."""
    from benchmarks.programs.ours import db, jobs

    engine = create_engine(url)
    jobs.metadata.create_all(engine)
    db.metadata.create_all(engine)
    engine.dispose()
