from __future__ import annotations

import socket

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tools.servers import RedisServer, ServerFailed
from tools.servers.process import free_port


def client_of(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0), socket_timeout=0.3)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_server_comes_back_empty_on_the_same_port(redis_server: RedisServer, end: str) -> None:
    client = client_of(redis_server)
    client.set("key", "value")
    port = redis_server.port

    getattr(redis_server, end)()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    redis_server.start()

    assert redis_server.port == port
    assert client.get("key") is None


def test_restart_is_a_stop_and_a_start(redis_server: RedisServer) -> None:
    client = client_of(redis_server)
    client.set("key", "value")
    pid = redis_server.pid

    redis_server.restart()

    assert redis_server.pid != pid
    assert client.dbsize() == 0


def test_clients_hang_while_the_server_is_paused(redis_server: RedisServer) -> None:
    client = client_of(redis_server)
    client.ping()

    redis_server.pause()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    redis_server.resume()

    assert client.ping()


def test_starting_a_running_server_changes_nothing(redis_server: RedisServer) -> None:
    pid = redis_server.pid

    redis_server.start()

    assert redis_server.pid == pid


def test_options_are_passed_on_and_the_url_carries_the_password() -> None:
    options = {"maxmemory": "3mb", "requirepass": "p@ss/word"}

    with RedisServer(options=options) as server, client_of(server) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(3 * 1024 * 1024)}


def test_database_number_is_the_end_of_the_url(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url_for(5)) as client:
        client.set("key", "value")

    assert client_of(redis_server).info("keyspace").keys() == {"db5"}


def test_a_port_that_is_taken_is_an_error_with_the_servers_own_words() -> None:
    with socket.socket() as holder:
        port = free_port()
        holder.bind(("127.0.0.1", port))
        holder.listen()

        with pytest.raises(ServerFailed, match="in use"), RedisServer(port=port):
            pass


def test_another_port_is_taken_when_the_chosen_one_is_lost_before_the_start() -> None:
    server = RedisServer()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", server.port))
        holder.listen()
        lost = server.port

        with server:
            assert server.port != lost
            assert client_of(server).ping()
