"""Real servers for all tests.

`postgres_url`, `sqlite_url` and `database_url` are fresh empty databases; `redis_url` is an empty
Redis. One PostgreSQL and one Redis serve the whole run, however many processes it has.
`postgres_server` and `redis_server` are private ones, to be killed, frozen and restarted. `sqs_queue` is
the URL of an empty SQS queue, `s3_bucket` the name of an empty bucket of S3, and `sqs_server` a private
server of both. `browser` is the Chromium that is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from playwright.sync_api import Browser

from tools.browser import installed, open_browser
from tools.proxy import FaultProxy
from tools.servers import PostgresServer, RedisServer
from tools.servers.sqs import REGION, SqsServer
from tools.smtp import SmtpCatcher

SERVERS = pytest.StashKey[tuple[PostgresServer, RedisServer]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--torture-rounds",
        type=int,
        default=1,
        metavar="N",
        help="run every selected test N times (with pytest-randomly: in random order)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    rounds = metafunc.config.getoption("--torture-rounds")
    if rounds > 1:
        metafunc.fixturenames.append("torture_round")
        metafunc.parametrize("torture_round", range(1, rounds + 1))


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")
    if not is_worker and getattr(config.option, "dist", "no") != "no":
        config.stash[SERVERS] = start_servers()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker process where the servers of the run are."""
    postgres, redis_ = node.config.stash[SERVERS]
    node.workerinput["postgres_url"] = postgres.url
    node.workerinput["redis_url"] = redis_.url


def pytest_unconfigure(config: pytest.Config) -> None:
    for server in config.stash.get(SERVERS, ()):
        server.close()


def start_servers() -> tuple[PostgresServer, RedisServer]:
    return PostgresServer().start(), RedisServer().start()


@pytest.fixture
def torture_round() -> int:
    """Which of the rounds of `--torture-rounds` this is."""
    return 1


@pytest.fixture(scope="session")
def server_urls(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The PostgreSQL and the Redis of this run; started here unless the controller did so."""
    config = request.config
    if hasattr(config, "workerinput"):
        number = config.workerinput["workerid"].removeprefix("gw")
        redis_url = config.workerinput["redis_url"].removesuffix("/0")
        return config.workerinput["postgres_url"], f"{redis_url}/{number}"
    if SERVERS not in config.stash:
        config.stash[SERVERS] = start_servers()
    postgres, redis_ = config.stash[SERVERS]
    return postgres.url, redis_.url


class PostgresDatabases:
    """Makes and drops databases in the PostgreSQL of the run."""

    def __init__(self, url: str, prefix: str) -> None:
        self._base = url.rpartition("/")[0]
        self._prefix = prefix
        self._made = 0
        self._admin = psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True)
        # Copying files is the fastest way; the servers before 15 know no other.
        is_choosable = self._admin.info.server_version >= 150_000
        self._strategy = "STRATEGY = FILE_COPY" if is_choosable else ""

    def create(self, template: str = "template0") -> str:
        """Make a database, as a copy of another one if wanted, and return its SQLAlchemy URL."""
        self._made += 1
        name = f"{self._prefix}_{self._made}"
        self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} {self._strategy}")
        return f"{self._base}/{name}"

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self._admin.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def close(self) -> None:
        self._admin.close()


@pytest.fixture(scope="session")
def postgres_databases(server_urls: tuple[str, str], worker_id: str) -> Iterator[PostgresDatabases]:
    databases = PostgresDatabases(server_urls[0], f"test_{worker_id}")
    yield databases
    databases.close()


@pytest.fixture
def postgres_url(postgres_databases: PostgresDatabases) -> Iterator[str]:
    """The SQLAlchemy URL of an empty PostgreSQL database."""
    url = postgres_databases.create()
    yield url
    postgres_databases.drop(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The SQLAlchemy URL of an SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The SQLAlchemy URL of an empty database: the test runs once on each kind."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    return request.getfixturevalue(fixture)


@pytest.fixture
def redis_url(server_urls: tuple[str, str]) -> Iterator[str]:
    """The URL of an empty Redis database, used by this process alone."""
    url = server_urls[1]
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture(scope="session")
def second_postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_server(second_postgres: PostgresServer, worker_id: str) -> Iterator[PostgresServer]:
    """A PostgreSQL server for the test to harm, with an empty database; `url` names it.

    The tests of a process have it one after the other, since making one takes a second or two.
    """
    server, everyday = second_postgres, "postgres"
    databases = PostgresDatabases(server.url_for(everyday), f"own_{worker_id}_{uuid4().hex}")
    server.database = databases.create().rpartition("/")[2]
    databases.close()
    yield server
    server.resume()
    server.start()
    databases = PostgresDatabases(server.url_for(everyday), "")
    databases.drop(server.url)
    databases.close()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis server of the test's own."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def shared_sqs() -> Iterator[SqsServer]:
    with SqsServer() as server:
        yield server


@pytest.fixture
def aws_keys(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Keys that an SQS without permissions takes, in the environment."""
    environ = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return environ


@pytest.fixture
def sqs_queue(shared_sqs: SqsServer, aws_keys: dict[str, str]) -> str:
    """The URL of an empty SQS queue; the environment has the keys to it."""
    return shared_sqs.create(f"test-{uuid4().hex}")


@pytest.fixture
def s3_bucket(shared_sqs: SqsServer, aws_keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an empty bucket of S3; the environment has its endpoint and the keys to it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", shared_sqs.url)
    return shared_sqs.create_bucket(f"test-{uuid4().hex}")


@pytest.fixture
def sqs_server(aws_keys: dict[str, str]) -> Iterator[SqsServer]:
    """An SQS server of the test's own; the environment has the keys to it."""
    with SqsServer() as server:
        yield server


@pytest.fixture
def fault_proxy() -> Iterator[Callable[[str, int], FaultProxy]]:
    """Put a fault proxy in front of a host and port."""
    proxies: list[FaultProxy] = []

    def put_before(host: str, port: int) -> FaultProxy:
        proxies.append(FaultProxy(host, port).start())
        return proxies[-1]

    yield put_before
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def smtp_server() -> Iterator[SmtpCatcher]:
    """An SMTP server that collects what it is sent in `messages`."""
    with SmtpCatcher() as catcher:
        yield catcher


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser; without one the tests that want it are skipped."""
    path = installed()
    if path is None:
        pytest.skip("No Chromium is installed: apt-get install chromium, or set CHROMIUM to its path.")
    with open_browser(path) as browser:
        yield browser
