from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tools.proxy import FaultProxy
from tools.servers import RedisServer


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[FaultProxy]:
    with FaultProxy(redis_server.host, redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy, redis_server: RedisServer) -> Iterator[redis.Redis]:
    url = proxy.url_for(redis_server.url)
    with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=0.5) as client:
        client.ping()
        yield client


def seconds_of(client: redis.Redis) -> float:
    started = time.monotonic()
    client.ping()
    return time.monotonic() - started


def test_healthy_proxy_passes_everything(client: redis.Redis) -> None:
    large = b"\x00\xff" * 1_000_000

    client.set("large", large)

    assert client.get("large") == large


def test_url_keeps_login_and_path() -> None:
    proxy = FaultProxy("127.0.0.1", 1)

    url = proxy.url_for("postgresql+psycopg://me:secret@localhost:5432/db?sslmode=disable")

    assert url == (f"postgresql+psycopg://me:secret@127.0.0.1:{proxy.port}/db?sslmode=disable")


def test_latency_is_added_in_both_directions(proxy: FaultProxy, client: redis.Redis) -> None:
    proxy.latency(0.1)
    slow = seconds_of(client)
    proxy.heal()
    fast = seconds_of(client)

    assert slow >= 0.2
    assert fast < 0.1


def test_latency_does_not_add_up_over_pieces_sent_together(proxy: FaultProxy, redis_server: RedisServer) -> None:
    proxy.latency(0.05)
    url = proxy.url_for(redis_server.url)
    with redis.Redis.from_url(url, socket_timeout=30) as client:
        client.ping()
        started = time.monotonic()
        client.set("large", b"x" * 5_000_000)  # eighty pieces
        seconds = time.monotonic() - started

    assert 0.1 <= seconds < 1.0


def test_black_hole_answers_nothing_until_it_is_healed(proxy: FaultProxy, client: redis.Redis) -> None:
    proxy.blackhole()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    with pytest.raises(redis.TimeoutError):
        client.ping()  # on a new connection
    proxy.heal()

    assert client.ping()


def test_refusing_proxy_cuts_old_connections_and_accepts_no_new_ones(proxy: FaultProxy, client: redis.Redis) -> None:
    proxy.refuse()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    with pytest.raises(redis.ConnectionError, match="refused"):
        client.ping()
    proxy.heal()

    assert client.ping()


def test_reset_cuts_old_connections_and_serves_new_ones(proxy: FaultProxy) -> None:
    with socket.create_connection((proxy.host, proxy.port), timeout=5) as old:
        old.sendall(b"PING\r\n")
        old.recv(100)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            old.recv(100)

    with socket.create_connection((proxy.host, proxy.port), timeout=5) as new:
        new.sendall(b"PING\r\n")
        assert new.recv(100) == b"+PONG\r\n"
    assert proxy.connections == 2


def test_client_of_a_dead_server_is_cut_off(proxy: FaultProxy, client: redis.Redis, redis_server: RedisServer) -> None:
    redis_server.kill()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    redis_server.start()

    assert client.ping()


def test_last_words_of_either_side_arrive(proxy: FaultProxy) -> None:
    proxy.latency(0.05)
    with socket.create_connection((proxy.host, proxy.port), timeout=5) as client:
        client.sendall(b"PING\r\nQUIT\r\n")
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(100), b""))

    assert answer == b"+PONG\r\n+OK\r\n"
