from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest

from tools.servers import PostgresServer, ServerFailed
from tools.waiting import wait_for


def connect(server: PostgresServer) -> psycopg.Connection:
    url = server.url_for(server.database, scheme="postgresql")
    return psycopg.connect(url, autocommit=True, connect_timeout=5)


def test_what_was_committed_survives_a_kill(postgres_server: PostgresServer) -> None:
    with connect(postgres_server) as session:
        session.execute("CREATE TABLE kept (id int)")
        session.execute("INSERT INTO kept VALUES (7)")
    port = postgres_server.port

    postgres_server.kill()
    refused = pytest.raises(psycopg.OperationalError, connect, postgres_server)
    postgres_server.start()

    assert "refused" in str(refused.value)
    assert postgres_server.port == port
    with connect(postgres_server) as session:
        assert session.execute("SELECT id FROM kept").fetchall() == [(7,)]


def test_restart_ends_the_sessions_and_keeps_the_port(postgres_server: PostgresServer) -> None:
    session = connect(postgres_server)
    port, pid = postgres_server.port, postgres_server.pid

    postgres_server.restart()

    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    assert (postgres_server.port, postgres_server.pid != pid) == (port, True)
    assert connect(postgres_server).execute("SELECT 1").fetchone() == (1,)


def test_open_session_hangs_while_the_server_is_paused(postgres_server: PostgresServer) -> None:
    session = connect(postgres_server)
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(session.execute("SELECT 1").fetchone()))

    postgres_server.pause()
    asking.start()
    asking.join(0.3)
    answers_while_paused = list(answers)
    postgres_server.resume()
    asking.join(10)

    assert answers_while_paused == []
    assert answers == [(1,)]


def test_paused_server_can_be_stopped(postgres_server: PostgresServer) -> None:
    postgres_server.pause()

    postgres_server.stop()

    assert not postgres_server.is_running


def test_kill_leaves_no_shared_memory_behind(
    postgres_server: PostgresServer, is_shared_memory_left: Callable[[str], bool]
) -> None:
    notes = (postgres_server.data / "postmaster.pid").read_text()
    assert is_shared_memory_left(notes)

    postgres_server.kill()

    assert not is_shared_memory_left(notes)


def test_fsync_is_off_unless_wanted(postgres_server: PostgresServer) -> None:
    with connect(postgres_server) as session:
        assert session.execute("SHOW fsync").fetchone() == ("off",)
    with PostgresServer(fsync=True) as durable, connect(durable) as session:
        assert session.execute("SHOW fsync").fetchone() == ("on",)
        assert session.execute("SHOW full_page_writes").fetchone() == ("on",)


def test_settings_are_passed_on() -> None:
    with PostgresServer(settings={"max_connections": "17"}) as server, connect(server) as session:
        assert session.execute("SHOW max_connections").fetchone() == ("17",)


def test_impossible_setting_fails_with_the_servers_own_words() -> None:
    with (
        pytest.raises(ServerFailed, match="max_connections"),
        PostgresServer(settings={"max_connections": "many"}),
    ):
        pass


def test_close_leaves_nothing_behind() -> None:
    with PostgresServer() as server:
        folder, pid = server.folder, server.pid

    assert not folder.exists()
    wait_for(lambda: not folder.exists(), "the folder to go")
    assert not server.is_running
    with pytest.raises(ServerFailed, match="not running"):
        assert server.pid == pid
