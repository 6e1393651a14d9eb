"""Worker processes of the service: the `dramatiq` command as users run it, and ways to hurt it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import Any, Self

import psutil

from tests.app.processes import Running

ACTORS = "tests.integration.service.actors"


class Workers(Running):
    """One `dramatiq` command with its worker processes; a context manager that leaves none."""

    def __init__(
        self,
        environ: dict[str, str],
        log: Path,
        *,
        processes: int = 1,
        threads: int = 4,
        modules: tuple[str, ...] = (ACTORS,),
        queues: tuple[str, ...] = (),
    ) -> None:
        command = ["dramatiq", *modules, "--processes", str(processes), "--threads", str(threads)]
        super().__init__(command + (["--queues", *queues] if queues else []), environ, log)
        self._frozen: set[int] = set()

    def __exit__(self, *error: object) -> None:
        self.thaw()  # a sibling that is stopped would never learn that its worker has gone
        self.kill_all()
        super().__exit__(*error)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def pids(self) -> set[int]:
        """The master and all its descendants."""
        with contextlib.suppress(psutil.NoSuchProcess):
            master = psutil.Process(self.process.pid)
            return {master.pid, *(child.pid for child in master.children(recursive=True))}
        return set()

    def kill_all(self) -> None:
        """SIGKILL the whole process group at once, as an out-of-memory killer or a lost container does."""
        self.signal_all(signal.SIGKILL)
        if self.is_running:
            self.process.wait(10)

    def signal_all(self, number: signal.Signals) -> None:
        """Signal the whole process group, as a service manager or a closed terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def lose(self) -> None:
        """End everything at once, the workers' siblings too, as a machine that loses its power does."""
        family = self.pids()
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: nobody sees another die
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.process.wait(10)

    def freeze(self, *, siblings: bool = False) -> None:
        """Stop it in the middle of what it does (SIGSTOP); with its siblings, as a suspended machine does."""
        self._frozen = self.pids() if siblings else set()
        self.signal_all(signal.SIGSTOP)
        for pid in self._frozen:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        for pid in self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.signal_all(signal.SIGCONT)

    def leave(self, seconds: float = 60) -> int:
        """Wait until the command has ended by itself; return its code."""
        return self.process.wait(seconds)


class Supervisor:
    """Starts the workers again whenever they have ended, as every platform does."""

    def __init__(self, start: Any) -> None:
        self._start = start
        self._stopped = threading.Event()
        self.current: Workers = start()
        self.starts = 1
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def _run(self) -> None:
        while not self._stopped.wait(0.1):
            if not self.current.is_running:
                self.current.__exit__()
                self.current = self._start()
                self.starts += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self.current.__exit__()
