"""What every server has in common: a folder, a port, and a process that can be ended or frozen."""

from __future__ import annotations

import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import psutil

from tools.servers.guard import end_family, guard
from tools.waiting import wait_for

# Below the ports that the kernel gives to outgoing connections: a client that knocks at its dead
# server's port again and again would, inside that range, one day connect to itself and hold it.
PORTS = range(20_000, 32_000)
START_SECONDS = 30.0
STOP_SECONDS = 20.0


class ServerFailed(RuntimeError):
    """A server did not start or ended by itself; the message has the end of its log."""


class Server(ABC):
    """A server on 127.0.0.1 with a temporary folder of its own; a context manager.

    Attributes:
        host: Always 127.0.0.1.
        port: The port, the same for all of the object's life.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    host: ClassVar[str] = "127.0.0.1"

    def __init__(self, *, port: int | None = None) -> None:
        """Prepare a server, without starting it.

        Args:
            port: The port to listen on; by default a free one is chosen.
        """
        self.port = port or free_port()
        # Somebody else may take the port before the first start does; later ones keep it.
        self._spare_ports = 3 if port is None else 0
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: list[psutil.Process] = []

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect to."""

    @property
    def folder(self) -> Path:
        """The temporary folder with the server's files and its log."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=f"understudy-{self.name}-"))
            guard.watch_folder(self._folder)
        return self._folder

    @property
    def pid(self) -> int:
        """The id of the server's process.

        Raises:
            ServerFailed: It is not running.
        """
        if self._process is None:
            raise ServerFailed(f"{self.name} on port {self.port} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the server and wait until it answers; does nothing when it runs.

        Raises:
            ServerFailed: It ended, or did not answer within 30 s.
        """
        while not self.is_running:
            try:
                self._launch()
            except ServerFailed:
                if self._spare_ports == 0:
                    raise
                self._spare_ports -= 1
                self.port = free_port()
        self._spare_ports = 0
        return self

    def stop(self) -> None:
        """End the server in its orderly way; its files stay for the next `start()`."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        else:
            self._ended()

    def kill(self) -> None:
        """End the server and its child processes with SIGKILL, as a crash would."""
        if self._process is None:
            return
        if self.is_running:
            end_family(psutil.Process(self._process.pid))
        self._ended()

    def restart(self) -> None:
        """Stop the server and start it again on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the server and its child processes (SIGSTOP): connections hang."""
        parent = psutil.Process(self.pid)
        parent.suspend()
        self._frozen = [parent]
        for child in parent.children(recursive=True):
            child.suspend()
            self._frozen.append(child)

    def resume(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        for process in reversed(self._frozen):
            if process.is_running():
                process.resume()
        self._frozen = []

    def close(self) -> None:
        """Stop the server and remove its files."""
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            guard.forget_folder(self._folder)
            self._folder = None

    def log(self) -> str:
        """What the server has written so far."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _command(self) -> list[str]:
        """The command line; called before each start."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether this very process is ready for clients."""

    def _account(self) -> pwd.struct_passwd | None:
        """The user the server runs as, if it must be another than the one running this program."""
        return None

    def _launch(self) -> None:
        command = self._command()
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for us to handle
                **run_as(self._account()),
            )
        guard.watch_process(self._process.pid)
        try:
            wait_for(self._ready, f"{self.name} to start", timeout_seconds=START_SECONDS)
        except TimeoutError as error:
            self.kill()
            raise ServerFailed(f"{error}\n{self.log()[-2000:]}") from None
        except BaseException:
            self.kill()
            raise

    def _ready(self) -> bool:
        if not self.is_running:
            raise ServerFailed(f"{self.name} ended while starting:\n{self.log()[-2000:]}")
        return self._answers()

    def _ended(self) -> None:
        assert self._process is not None
        self._process.wait()
        guard.forget_process(self._process.pid)
        self._process = None
        self._frozen = []


def free_port() -> int:
    """Choose a port of 127.0.0.1 that nobody listens on."""
    dice = random.SystemRandom()  # the test runner seeds the global one alike in every process
    while True:
        port = dice.choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def run_as(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """The arguments of `subprocess.Popen` that make a program run as `account`."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
