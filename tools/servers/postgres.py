"""A PostgreSQL server in a temporary folder, also when we are root, which PostgreSQL refuses."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tools.servers import binaries
from tools.servers.guard import guard
from tools.servers.process import Server, run_as

USER = "postgres"


class PostgresServer(Server):
    """A private PostgreSQL server with the superuser `postgres`, who needs no password.

    What was committed survives a stop and a kill; `close()` removes it.

    Attributes:
        database: The database that `url` names, "postgres" unless it is changed.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": sessions are ended, nothing is lost

    def __init__(
        self,
        *,
        port: int | None = None,
        fsync: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare a server, without starting it.

        Args:
            port: The port to listen on; by default a free one is chosen.
            fsync: Whether a commit waits for the disk. A test does not need that, since the
                machine's memory outlives the server; a benchmark does.
            settings: Settings as in postgresql.conf: `{"max_connections": "20"}`.
        """
        super().__init__(port=port)
        self.database = "postgres"
        durable = "on" if fsync else "off"
        self._settings = {
            "fsync": durable,
            "full_page_writes": durable,
            "max_connections": "200",
            **(settings or {}),
        }

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database `database`."""
        return self.url_for(self.database)

    def url_for(self, database: str, *, scheme: str = "postgresql+psycopg") -> str:
        """The URL of a database; libpq, unlike SQLAlchemy, wants the scheme `postgresql`."""
        return f"{scheme}://{USER}@{self.host}:{self.port}/{database}"

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def folder(self) -> Path:
        """The temporary folder with the server's files and its log."""
        if self._folder is None:
            self._folder = _temporary_folder(self.name, self._account())
        return self._folder

    def _command(self) -> list[str]:
        bindir = _reachable(binaries.postgres_bindir())
        if not self.data.exists():
            _run("cp", "-a", str(_empty_cluster(bindir)), str(self.data), cwd=self.folder)
        settings = {
            "port": str(self.port),
            "listen_addresses": self.host,
            "unix_socket_directories": "",
            **self._settings,
        }
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(bindir / "postgres"), "-D", str(self.data), *flags]

    def _answers(self) -> bool:
        # The server writes its pid into the first line and its state into the last.
        try:
            lines = (self.data / "postmaster.pid").read_text().split()
        except FileNotFoundError:
            return False
        return bool(lines) and lines[0] == str(self.pid) and lines[-1] == "ready"

    def _account(self) -> pwd.struct_passwd | None:
        return _unprivileged_account()

    def kill(self) -> None:
        """End the server and its sessions with SIGKILL, as a crash would."""
        notes = self.data / "postmaster.pid"
        lines = notes.read_text().splitlines() if notes.exists() else []
        super().kill()
        # Its pid may soon belong to somebody else, which would keep the next start from starting.
        notes.unlink(missing_ok=True)
        # The seventh line names a piece of shared memory, which nobody else would ever give back.
        if len(lines) > 6 and lines[6].split() and (ipcrm := shutil.which("ipcrm")):
            subprocess.run([ipcrm, "-m", lines[6].split()[-1]], capture_output=True)


def _unprivileged_account() -> pwd.struct_passwd | None:
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _temporary_folder(name: str, account: pwd.struct_passwd | None) -> Path:
    parent = Path(tempfile.gettempdir())
    if account is not None and not binaries.is_open_to_all(parent):
        parent = Path("/tmp")
    folder = Path(tempfile.mkdtemp(prefix=f"understudy-{name}-", dir=parent))
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    guard.watch_folder(folder)
    return folder


@functools.cache
def _reachable(bindir: Path) -> Path:
    """The folder of PostgreSQL's programs, copied if the user who will run them cannot reach it."""
    account = _unprivileged_account()
    if account is None or binaries.is_open_to_all(bindir.resolve()):
        return bindir
    folder = _temporary_folder("postgres-programs", account)
    folder.chmod(0o755)
    return binaries.copy_for_everybody(bindir, folder)


@functools.cache
def _empty_cluster(bindir: Path) -> Path:
    """A data folder as `initdb` makes it: made once, then copied, which is ten times faster."""
    folder = _temporary_folder("postgres-template", _unprivileged_account())
    _run(
        str(bindir / "initdb"),
        f"--username={USER}",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        f"--pgdata={folder / 'data'}",
        cwd=folder,
    )
    return folder / "data"


def _run(*command: str, cwd: Path) -> None:
    finished = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(cwd), "LC_ALL": "C"},
        **run_as(_unprivileged_account()),
    )
    if finished.returncode:
        shutil.rmtree(cwd, ignore_errors=True)
        raise RuntimeError(f"{command[0]} failed:\n{finished.stdout}{finished.stderr}")
